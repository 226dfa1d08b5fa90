"""Networks of the digit experiments: f, g and D."""
