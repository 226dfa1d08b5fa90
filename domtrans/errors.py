"""The exceptions of domtrans: an error that the user can fix, a lost process, and a stop that the user asked for."""

MAX_MESSAGE_CHARACTERS = 2000
"""Messages may quote the content of a file, which may be anything."""


class DomtransError(Exception):
    """A wrong input or environment. The message is one sentence that says what is wrong, where, and how to fix it.

    The command line prints it without a traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Escape line breaks and control characters, which file names may contain, and shorten the text if it is too long."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: MAX_MESSAGE_CHARACTERS + 1])
    return escaped if len(escaped) <= MAX_MESSAGE_CHARACTERS else escaped[: MAX_MESSAGE_CHARACTERS - 3] + "..."


def reason_of(error: BaseException, max_characters: int = 200) -> str:
    """The message of an error of a library on one line, shortened; the name of its type if it has no message."""
    return " ".join(str(error).split())[:max_characters] or type(error).__name__


class LostProcessError(DomtransError):
    """Another process that works with this one has ended. Nothing is wrong with the input: the same command continues.

    The command line exits with code 138, which schedulers retry, instead of 2.
    """


class Stopped(Exception):  # noqa: N818 - not an error: the caller asked for it
    """Work stopped because the caller asked for it (Ctrl-C, a stop event), at a point where nothing is lost."""
