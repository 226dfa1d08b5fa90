"""Metrics of avatars, and their evaluator network."""
