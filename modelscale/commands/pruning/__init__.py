"""The steps of `modelscale prune`."""
