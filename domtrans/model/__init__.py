"""The networks of a transfer: f frozen, G(x) = g(f(x)), how they are built from a recipe, and their weights."""
