"""What decides which units or weights matter least, one file each kind."""
