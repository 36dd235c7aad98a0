"""Every error as one line on stderr and an exit status.

Rule 1: no traceback reaches a user, unless ``QTAPTURE_DEBUG`` asks for it.
Rule 2: a reader of our stdout that goes away is not an error to talk about.
Rule 3: what fails before the command of ``record -- COMMAND`` starts exits with 125, as env(1)
        does, so that our failure is never taken for a status of the command.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import typer

from qtapture.cli.text import printable
from qtapture.errors import QtaptureError

__all__ = ["guarded"]

_FINDING = 1
_USAGE = 2
_BEFORE_COMMAND = 125
_INTERRUPTED = 130  # 128 + SIGINT
_BROKEN_PIPE = 141  # 128 + SIGPIPE

# The disk, not the question, is what failed.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


def guarded(body: Callable[[], int], args: Sequence[str]) -> int:
    """Run ``body``; its status, or that of the error, which is told on stderr."""
    try:
        status = body()
        sys.stdout.flush()
    except typer.Exit as exit_:
        return _flushed(exit_.exit_code)
    except BrokenPipeError:
        _drop_stdout()
        return _BROKEN_PIPE
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place where one can be told
        return _told(error, args)
    return status


def _told(error: Exception, args: Sequence[str]) -> int:
    if os.environ.get("QTAPTURE_DEBUG"):
        traceback.print_exception(error)
    message, status = _explained(error)
    _say(f"qtapture: {printable(message)}")
    return _BEFORE_COMMAND if _has_command(args) else status


def _explained(error: Exception) -> tuple[str, int]:
    match error:
        case QtaptureError():
            return str(error), error.exit_code
        case typer.TyperException():
            return _usage(error), error.exit_code
        case OSError(strerror=str(reason)):
            place = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
            return f"{place}{reason}", _FINDING if error.errno in _DISK else _USAGE
        case _:
            name = type(error).__name__
            detail = f"{name}: {error}" if str(error) else name
            return f"internal error: {detail} (QTAPTURE_DEBUG=1 shows where)", _FINDING


def _usage(error: typer.TyperException) -> str:
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "qtapture"
    return f"{message} (see {path} --help)"


def _has_command(args: Sequence[str]) -> bool:
    return bool(args) and args[0] == "record" and "--" in args[:-1]


def _flushed(status: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        return _BROKEN_PIPE
    return status


def _drop_stdout() -> None:
    # What is still buffered would fail once more, loudly, when the interpreter ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _say(line: str) -> None:
    try:
        print(line, file=sys.stderr)  # noqa: T201 - this is the talk
    except OSError:
        # Nobody listens; the status still tells.
        return
