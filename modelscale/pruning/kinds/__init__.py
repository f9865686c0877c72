"""Ways to make a trained model smaller, one file each kind."""
