"""Speed: how fast a recipe trains on this machine, beside a plain loop and a lower bound."""
