"""Which parts of a network must be cut together, from the graph of its operators."""
