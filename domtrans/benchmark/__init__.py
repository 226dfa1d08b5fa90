"""Training speed of a recipe on this machine, next to a plain loop and a lower bound."""
