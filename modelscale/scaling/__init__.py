"""Scaling laws: from measured points to a law, its uncertainty, and what to train next."""
