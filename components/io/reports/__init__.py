"""Pages, figures and texts for people."""
