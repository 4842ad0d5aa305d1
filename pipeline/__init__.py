"""What a person types: python -m pipeline VERB."""
