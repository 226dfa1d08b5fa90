"""Networks of the face experiments: f, g and D."""
