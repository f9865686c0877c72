"""The parts of `modelscale ensemble`."""
