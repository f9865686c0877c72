"""One file for each sort of plot: what a block of a page looks like."""
