"""The ensemble family: one file a kind."""
