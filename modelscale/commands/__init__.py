"""One file a verb: makes replicas, trains them, reduces them to a result."""
