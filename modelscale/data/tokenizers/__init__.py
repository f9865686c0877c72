"""Tokenizer kinds, one file each."""
