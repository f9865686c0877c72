"""Sampler kinds, one file each."""
