"""Metrics, intervals, calibration, latency and FLOPs."""
