"""Trained models as files for other programs, proved against the model that they are of."""
