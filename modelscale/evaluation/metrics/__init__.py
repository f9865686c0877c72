"""Metric kinds, one file each."""
