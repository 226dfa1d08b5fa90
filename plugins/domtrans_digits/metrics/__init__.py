"""Metrics of digits, and the evaluator networks that they use."""
