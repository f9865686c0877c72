"""Loss kinds, one file each."""
