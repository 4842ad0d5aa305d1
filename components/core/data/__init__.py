"""Files to pixels, fingerprints, groups and splits."""
