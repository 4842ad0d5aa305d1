"""The model registry: versions, aliases, the audit log behind them."""
