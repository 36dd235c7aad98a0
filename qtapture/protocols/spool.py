"""One unnamed file for the bodies that are too large for memory, whoever's they are.

A file for each would need a descriptor for each of thousands of open transfers.
"""

import tempfile
import weakref
from typing import IO

__all__ = ["BLOCK", "Spool"]

# What is given to a body at a time, and used again when it gives it back: else one transfer that
# never ends would keep everything that passed meanwhile on disk.
BLOCK = 64 << 10


class Spool:
    """Blocks of one file, which goes when no block is in use."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._count = 0
        self._free: list[int] = []

    def _open(self) -> IO[bytes]:
        file = tempfile.TemporaryFile(prefix="qtapture-bodies-", buffering=0)  # noqa: SIM115
        weakref.finalize(self, file.close)  # bodies that nobody closed leave no warning behind
        return file

    def take(self) -> int:
        """A block to write to: its number."""
        if self._free:
            return self._free.pop()
        self._count += 1
        return self._count - 1

    def write(self, block: int, at: int, data: bytes) -> None:
        """Store bytes in a block that was taken; ``at`` and what follows fit in it."""
        if self._file is None:
            self._file = self._open()
        self._file.seek(block * BLOCK + at)
        self._file.write(data)

    def read(self, block: int, size: int) -> bytes:
        """The first bytes of a block."""
        if self._file is None:
            return b""
        self._file.seek(block * BLOCK)
        return self._file.read(size)

    def give_back(self, blocks: list[int]) -> None:
        """These are not needed any more."""
        self._free += reversed(blocks)
        if len(self._free) == self._count and self._file is not None:
            self._file.close()
            self._file = None
            self._count = 0
            self._free = []
