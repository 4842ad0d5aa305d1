"""Settings, networks, the training loop and inference."""
