"""Where exports go: written beside their final name and renamed into place when complete.

Rule 1: what exists is replaced only by force, and only at the very end.
Rule 2: nobody else can read it at any time: files 0600, folders 0700 (decrypted traffic).
Rule 3: an export that fails leaves nothing behind.
"""

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from qtapture.errors import UsageError

__all__ = ["OutputFile", "OutputFolder", "append_private", "open_private"]

# A large buffer, as exporters write many small pieces (packets of some hundred bytes).
_BUFFER = 1 << 18

_Made = TypeVar("_Made")


def open_private(path: Path) -> BinaryIO:
    """Create a new file that only we can read, for writing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return open(descriptor, "wb", buffering=_BUFFER)  # noqa: PTH123 - a descriptor, not a path


def append_private(path: Path) -> BinaryIO:
    """Open a file again that `open_private` created, for writing at its end."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    return open(descriptor, "ab", buffering=_BUFFER)  # noqa: PTH123 - a descriptor, not a path


class OutputFile:
    """One file, written beside ``path``; None is stdout, devices and pipes are written directly.

    Raises:
        UsageError: ``path`` exists (without ``force``), is a folder, or cannot be created.
    """

    def __init__(self, path: Path | None, *, force: bool = False) -> None:
        self._path = path
        self._force = force
        self._temporary: Path | None = None
        self._done = False
        if path is None:
            self.stream: BinaryIO = sys.stdout.buffer
        elif _is_special(path):
            self.stream = _reporting(path, lambda: path.open("wb"))
        else:
            _refuse_existing(path, force=force, folder=False)
            self.stream = _reporting(path, lambda: self._begin_beside(path))

    def _begin_beside(self, path: Path) -> BinaryIO:
        # mkstemp creates with 0600 and O_EXCL.
        descriptor, name = tempfile.mkstemp(
            prefix=f".{path.name[:200]}.", suffix=".partial", dir=path.parent
        )
        self._temporary = Path(name)
        return open(descriptor, "wb", buffering=_BUFFER)  # noqa: PTH123 - a descriptor

    def commit(self) -> None:
        """Flush, and give the file its name.

        Raises:
            UsageError: a file of that name has appeared meanwhile (without ``force``).
        """
        self.stream.flush()
        if self._path is None:
            self._done = True
            return
        if self._temporary is not None:
            # The name must never stand for an empty file after a power cut.
            os.fsync(self.stream.fileno())
        self.stream.close()
        if self._temporary is not None:
            _put_file(self._temporary, self._path, force=self._force)
        self._done = True

    def abandon(self) -> None:
        """Close and remove what was begun; nothing after `commit`."""
        if self._done or self._path is None:
            return
        self._done = True
        with contextlib.suppress(OSError):  # the disk may be full: flushing fails again
            self.stream.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


class OutputFolder:
    """One folder, filled beside ``path`` (at `at`) and renamed when complete.

    ``is_ours`` says whether an existing folder is an earlier output, which alone ``force``
    may replace: ``--force -o ~`` must not empty a home.

    Raises:
        UsageError: ``path`` exists (without ``force``), is not ours, or cannot be created.
    """

    def __init__(self, path: Path, *, is_ours: Callable[[Path], bool], force: bool = False) -> None:
        self._path = path
        self._force = force
        self._is_ours = is_ours
        self._done = False
        self._refuse()
        self.at: Path = _reporting(path, lambda: _make_folder_beside(path))

    def _refuse(self) -> None:
        _refuse_existing(self._path, force=self._force, folder=True)
        if self._path.is_dir() and any(self._path.iterdir()) and not self._is_ours(self._path):
            raise UsageError(f"{self._path}: is not an earlier output, and is not replaced")

    def commit(self) -> None:
        """Give the folder its name; an earlier output goes when the new one is in place.

        Raises:
            UsageError: something of that name has appeared meanwhile.
        """
        self._refuse()
        if self._path.is_dir():
            aside = _make_folder_beside(self._path)
            # rename(2) replaces an empty folder in one step.
            self._path.rename(aside)
            try:
                self.at.rename(self._path)
            except OSError:
                aside.rename(self._path)  # the earlier output is better than none
                raise
            shutil.rmtree(aside)
        else:
            _reporting(self._path, lambda: self.at.rename(self._path))
        self._done = True

    def abandon(self) -> None:
        """Remove what was begun; nothing after `commit`."""
        if not self._done:
            self._done = True
            shutil.rmtree(self.at, ignore_errors=True)


def _make_folder_beside(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name[:200]}.", suffix=".partial", dir=path.parent))


def _is_special(path: Path) -> bool:
    """Whether it is a device, pipe or socket: such things are written, never replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _refuse_existing(path: Path, *, force: bool, folder: bool) -> None:
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        if not folder:
            raise UsageError(f"{path}: is a folder")
    elif folder:
        raise UsageError(f"{path}: exists and is not a folder")
    if not force:
        raise UsageError(f"{path}: exists (--force replaces it)")


def _put_file(temporary: Path, path: Path, *, force: bool) -> None:
    if not force:
        try:
            # link(2), unlike rename(2), never replaces.
            os.link(temporary, path)
        except FileExistsError:
            raise UsageError(f"{path}: exists (--force replaces it)") from None
        except OSError:
            # FAT and some network file systems have no links.
            _refuse_existing(path, force=False, folder=False)
        else:
            temporary.unlink()
            return
    temporary.replace(path)


def _reporting(path: Path, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
