"""THE training loop: plan, cohort, step, trainer, state."""
