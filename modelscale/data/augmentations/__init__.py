"""Image augmentation kinds, one file each."""
