"""Hyper-parameter search: samplers, early stopping, cohorts of trials."""
