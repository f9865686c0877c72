"""Ensembles: the algorithms."""
