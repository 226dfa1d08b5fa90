"""The one exception for faults that a user can mend."""

LONGEST = 2000
"""Characters of a message; what a file holds may be quoted in it, and a file may hold anything."""


class DomtransError(Exception):
    """Bad input or a bad environment: one clear sentence saying what, where and what to do.

    The command line shows it without a traceback and exits with code 2; library callers catch it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Text in which nothing breaks the line or steers a terminal: a file's name may hold either."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."


class Stopped(Exception):  # noqa: N818 - not an error: the caller asked for it
    """Work was stopped on request (Ctrl-C, a caller's stop event) at a point where nothing is lost."""
