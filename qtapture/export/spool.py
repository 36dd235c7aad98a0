"""Lines that come in one order and are wanted in another: on disk, with an index in memory.

40 bytes of memory for each line: a million of them are 40 MB.
"""

import tempfile
from array import array
from collections.abc import Iterator
from typing import IO

__all__ = ["SortedSpool"]

_PIECE = 1 << 20


class SortedSpool:
    """Lines by two keys, then in order of arrival."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._end = 0
        self._first = array("q")
        self._second = array("q")
        self._places = array("q")
        self._lengths = array("q")

    def add(self, first: int, second: int, line: bytes) -> None:
        """Keep a line."""
        self._file.write(line)
        self._first.append(first)
        self._second.append(second)
        self._places.append(self._end)
        self._lengths.append(len(line))
        self._end += len(line)

    def iter_lines(self) -> Iterator[Iterator[bytes]]:
        """Each line, in order, as pieces of limited size."""
        first, second = self._first, self._second
        for at in sorted(range(len(first)), key=lambda n: (first[n], second[n])):
            yield self._iter_pieces(self._places[at], self._lengths[at])

    def close(self) -> None:
        """Give the disk back; once is enough."""
        self._file.close()

    def _iter_pieces(self, place: int, length: int) -> Iterator[bytes]:
        self._file.seek(place)
        while length:
            piece = self._file.read(min(length, _PIECE))
            yield piece
            length -= len(piece)
