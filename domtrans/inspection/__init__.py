"""Inspect data before training: what would be read, what would be skipped, and which images are damaged or repeated."""
