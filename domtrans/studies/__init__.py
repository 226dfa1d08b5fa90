"""Many trainings: studies, which compare experiments with published values, and sweeps, which search for good options."""
