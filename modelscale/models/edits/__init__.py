"""Changes of a built network, one file each kind."""
