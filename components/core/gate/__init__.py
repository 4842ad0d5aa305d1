"""The gate: whether a model may become champion."""
