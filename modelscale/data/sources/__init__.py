"""Data source kinds, one file each."""
