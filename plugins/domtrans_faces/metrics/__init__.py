"""Metrics of avatars, and the evaluator networks that they use."""
