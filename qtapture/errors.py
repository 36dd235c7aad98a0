"""Every exception that qtapture raises on purpose, split by whose fault it is.

Rule 1: the command line turns each into one line on stderr and the documented exit code.
Rule 2: parsers of traffic raise none of them (docs/architecture.md, invariant 6).
"""

__all__ = [
    "CaptureError",
    "FormatError",
    "HostError",
    "NotASessionError",
    "QtaptureError",
    "UsageError",
]


class QtaptureError(Exception):
    """What all errors have in common: one line for a person, and an exit code."""

    exit_code = 1


class UsageError(QtaptureError):
    """What was asked cannot be done: a bad option, an output that exists, an unknown pid."""

    exit_code = 2


class HostError(QtaptureError):
    """This host cannot capture: privilege, kernel or loader."""

    exit_code = 3


class CaptureError(QtaptureError):
    """A promised capture could not be kept up."""

    exit_code = 1


class FormatError(QtaptureError):
    """A file is not as its format says. ``offset`` is the file position in bytes."""

    exit_code = 1

    def __init__(self, message: str, *, offset: int) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset = offset


class NotASessionError(FormatError):
    """The file is not a session, or nothing in it can be read."""

    exit_code = 4
