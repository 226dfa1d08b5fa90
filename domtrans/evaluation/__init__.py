"""Measuring: metrics and their evaluators, distances between sets of images, the health checks, the label-free score, the
leak guard, and results in words.
"""
