"""The image folder, the manifest and what is read through it."""
