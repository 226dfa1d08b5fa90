"""Metrics and their evaluators, image set distances, health checks, label-free score, leak guard, and results."""
