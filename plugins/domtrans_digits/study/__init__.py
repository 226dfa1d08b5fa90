"""The study ``digits``."""
