"""Training: from a recipe to a measured run. Read train, experiment, loop, trainer and losses, in this order."""
