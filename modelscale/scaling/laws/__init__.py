"""The laws: `base.py` is the family, every other file is one formula."""
