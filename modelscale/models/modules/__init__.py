"""The torch modules that model kinds are built from."""
