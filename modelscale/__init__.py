"""Train, tune, prune, ensemble and scale models from one YAML file."""

__version__ = "0.1.0"
