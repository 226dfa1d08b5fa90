"""Progress for people: bars on a terminal, bars in a notebook, plain lines elsewhere."""
