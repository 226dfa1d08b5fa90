"""Metrics of digits, and their evaluator networks."""
