"""Tables of a study."""

from domtrans import Column, Table

ACCURACY = Column("accuracy", "accuracy")


THIRD = Column("third class", "per_class.2", {"metrics.digits.steps": 3})


def table(*rows, title="Main", columns=(ACCURACY, THIRD), published=()):
    """A table with these rows."""
    return Table(title, "How it is measured.", columns, rows, published)
