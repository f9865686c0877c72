"""Split kinds, one file each."""
