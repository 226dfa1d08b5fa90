"""Networks of the digit experiments: encoders f, generators g and discriminators D."""
