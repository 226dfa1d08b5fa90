"""The one exception for faults that a user can mend."""


class DomtransError(Exception):
    """Bad input or a bad environment: one clear sentence saying what, where and what to do.

    The command line shows it without a traceback and exits with code 2; library callers catch it.
    """


class Stopped(Exception):  # noqa: N818 - not an error: the caller asked for it
    """Work was stopped on request (Ctrl-C, a caller's stop event) at a point where nothing is lost."""
