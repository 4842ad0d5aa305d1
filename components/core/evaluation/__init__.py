"""Predictions, metrics, and what chance can do to them."""
