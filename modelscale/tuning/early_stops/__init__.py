"""Early-stopping kinds for trials, one file each."""
