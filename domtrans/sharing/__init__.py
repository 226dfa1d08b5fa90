"""What leaves a run: exported networks, packed folders for a model hub with a model card, and generated image sets."""
