"""Learning-rate schedule kinds, one file each."""
