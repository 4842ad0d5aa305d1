"""The effects around the core: files, params, the decode cache, MLflow, reports."""
