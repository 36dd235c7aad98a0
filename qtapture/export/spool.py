"""Lines that come in one order and are wanted in another: an external sort.

Lines wait in one temporary file. The index is sorted in runs of limited length, which wait in
another, and merged at the end. So memory does not grow with lines, but for 4 KiB for each run,
which is an eighth of a byte a line.
"""

import heapq
import tempfile
from collections.abc import Iterator
from typing import IO

__all__ = ["SortedSpool"]

# Lines in one run of the index: 3 MB of memory, and 1,000 runs for 33 million lines.
RUN_LINES = 32_768
_BUFFER = 4096  # read of one run at a time
_PIECE = 1 << 20

# An entry is bytes that sort as numbers do: keys, order of arrival, place and length. The first
# key has room beyond 64 bits and for what is negative: times of a damaged session are anything.
_FIRST, _NUMBER = 12, 8
_FIRST_ZERO = 1 << 95
_ENTRY = _FIRST + 4 * _NUMBER
_ENTRIES = _BUFFER // _ENTRY
_PLACE = slice(_FIRST + 2 * _NUMBER, _FIRST + 3 * _NUMBER)
_LENGTH = slice(_FIRST + 3 * _NUMBER, _ENTRY)


class SortedSpool:
    """Lines by two keys, then in order of arrival."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._index: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._run: list[bytes] = []
        self._runs: list[tuple[int, int]] = []  # first and one past the last byte in the index
        self._end = 0
        self._count = 0

    def add(self, first: int, second: int, line: bytes) -> None:
        """Keep a line. ``second`` is a number of 64 bits, ``first`` may be any time."""
        self._file.write(line)
        numbers = (second, self._count, self._end, len(line))
        key = (_FIRST_ZERO + first).to_bytes(_FIRST, "big")
        self._run.append(key + b"".join(n.to_bytes(_NUMBER, "big") for n in numbers))
        self._count += 1
        self._end += len(line)
        if len(self._run) >= RUN_LINES:
            self._spill()

    def iter_lines(self) -> Iterator[Iterator[bytes]]:
        """Each line, in order, as pieces of limited size."""
        self._run.sort()
        runs = [self._iter_run(start, end) for start, end in self._runs]
        for entry in heapq.merge(*runs, self._run):
            place, length = (int.from_bytes(entry[at], "big") for at in (_PLACE, _LENGTH))
            yield self._iter_pieces(place, length)

    def close(self) -> None:
        """Give the disk back; once is enough."""
        self._file.close()
        self._index.close()

    def _spill(self) -> None:
        self._run.sort()
        start = self._runs[-1][1] if self._runs else 0
        self._index.write(b"".join(self._run))
        self._runs.append((start, start + len(self._run) * _ENTRY))
        self._run.clear()

    def _iter_run(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            self._index.seek(start)
            block = self._index.read(min(_ENTRIES * _ENTRY, end - start))
            start += len(block)
            for at in range(0, len(block), _ENTRY):
                yield block[at : at + _ENTRY]

    def _iter_pieces(self, place: int, length: int) -> Iterator[bytes]:
        self._file.seek(place)
        while length:
            piece = self._file.read(min(length, _PIECE))
            yield piece
            length -= len(piece)
