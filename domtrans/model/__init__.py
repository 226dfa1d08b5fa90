"""The networks of a trained transfer: the frozen encoder f, G = g(f(x)), how they are built from a recipe, and their
weights.
"""
