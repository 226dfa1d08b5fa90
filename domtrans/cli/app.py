"""The entry of the command line: ``main`` runs a command and turns what it raises into an exit code.

It imports the commands, and typer, inside ``main``: Ctrl-C during the imports, too, then ends without a traceback.
"""

from __future__ import annotations

import os
import sys

from domtrans.cli.exit_codes import INTERRUPTED, LOST_PROCESS, USER_ERROR
from domtrans.errors import DomtransError, LostProcessError


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit.

    The exit code is 0 when done, 1 if some files failed or differ, 2 after an error that the user can fix, 130 after a stop,
    and 138 if another process was lost. After 130 and 138 the same command continues.
    """
    code: int | str | None = 0
    try:
        from domtrans.cli.commands import app

        app(args=[*map(_expand_home, sys.argv[1:] if args is None else args)], prog_name="domtrans")
    except SystemExit as done:
        code = done.code
    except DomtransError as error:
        from domtrans.cli import terminal

        terminal.print_error(str(error))
        code = LOST_PROCESS if isinstance(error, LostProcessError) else USER_ERROR
    except KeyboardInterrupt:  # while the commands are imported and built; later, click turns it into SystemExit
        code = INTERRUPTED
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, e.g. `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _expand_home(word: str) -> str:
    """An argument, or the value of ``--option=value``, with ``~/`` as the home folder: a shell may leave it as it is."""
    from domtrans.storage.paths import expand_home

    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + expand_home(value)
