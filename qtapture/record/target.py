"""Where a session goes: a new file of our own, or standard output."""

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from qtapture.errors import UsageError

__all__ = ["Target", "open_target"]


@dataclass(slots=True)
class Target:
    """``path`` None: standard output, or something that cannot be taken back."""

    stream: BinaryIO
    name: str
    path: Path | None

    @property
    def disk(self) -> int | None:
        """A descriptor on its file system, None where it is no regular file."""
        descriptor = self.stream.fileno()
        return descriptor if stat.S_ISREG(os.fstat(descriptor).st_mode) else None

    def take_back(self) -> None:
        """Remove a file in which nothing was recorded."""
        self.stream.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def open_target(path: Path | None, *, force: bool) -> Target:
    """Create the file, readable by us alone; an existing one only with ``force``.

    Raises:
        UsageError: it exists, or cannot be written.
    """
    if path is None:
        if sys.stdout.isatty():
            raise UsageError("a session is no text: send stdout to a file or a pipe")
        # Unbuffered, and its own descriptor: what COMMAND prints goes elsewhere.
        return Target(os.fdopen(os.dup(1), "wb", buffering=0), "stdout", None)
    try:
        return _create(path, force=force)
    except FileExistsError:
        raise UsageError(f"{path} exists (--force replaces it)") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _create(path: Path, *, force: bool) -> Target:
    if path.is_dir():
        raise UsageError(f"{path} is a folder")
    special = path.exists() and not path.is_file() and not path.is_dir()
    if special:  # a device or a named pipe
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        return Target(os.fdopen(descriptor, "wb", buffering=0), str(path), None)
    if force and path.is_file():
        path.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    return Target(os.fdopen(descriptor, "wb", buffering=0), str(path), path)
