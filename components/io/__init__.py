"""The effects around the core: files, params, the image folder, the pixel cache, reports."""
