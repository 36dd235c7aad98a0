"""Processes that are never recorded: other recordings, and whoever reads ours."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["is_pipe", "other_recordings", "pipe_readers"]

# Modules that only a recorder of root's starts; the recorder is their parent.
_HELPERS = (b"qtapture.capture.attacher_child", b"qtapture.capture.guardian_child")
_ACCESS_MODE = 3  # O_ACCMODE; 0 is O_RDONLY


def other_recordings() -> set[int]:
    """Recorders that run on this host now, with their helpers; ours is among them."""
    found: set[int] = set()
    for folder in _iter_processes():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            root = folder.stat().st_uid == 0
            parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            continue  # it has ended
        # Anybody can take such a name, to be left out; root need not.
        if root and any(helper in words for helper in _HELPERS):
            found |= {int(folder.name), parent}
    return found


def is_pipe(descriptor: int) -> bool:
    """Whether a descriptor is a pipe."""
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def pipe_readers(descriptor: int) -> set[int]:
    """Processes that hold the reading end of a pipe, but none that we descend from."""
    name = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - no path, but a name
    ancestors = set(_iter_ancestors())
    return {pid for pid in _iter_holders(name) if pid not in ancestors}


def _iter_holders(name: str) -> Iterator[int]:
    for folder in _iter_processes():
        try:
            for entry in (folder / "fd").iterdir():
                if str(entry.readlink()) == name and _reads(folder / "fdinfo" / entry.name):
                    yield int(folder.name)
        except OSError:
            continue


def _reads(info: Path) -> bool:
    flags = next(line for line in info.read_text().splitlines() if line.startswith("flags:"))
    return int(flags.split()[1], 8) & _ACCESS_MODE == os.O_RDONLY


def _iter_ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid:
        yield pid
        pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def _iter_processes() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
