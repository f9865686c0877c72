"""From the user's files to tensors: sources, strict reading, splits, pre-processing."""
