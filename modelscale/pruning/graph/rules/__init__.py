"""What each operator does to the axes of its tensors, one file for each group of them."""
