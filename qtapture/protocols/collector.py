"""Bytes up to a mark that may come in any pieces: linear in time, bounded in memory."""

import re

__all__ = ["Collector"]

# No mark that is looked for is longer: ``\n\r\n``. So many bytes of one may have come before.
_OVERLAP = 3


class Collector:
    """What came of something that ends in a pattern. Nothing is copied where it came at once."""

    __slots__ = ("_buffer", "_searched")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._buffer)

    def clear(self) -> None:
        """Forget what came."""
        self._buffer = bytearray()
        self._searched = 0

    def start(self, most: int) -> bytes:
        """The first bytes that came, so many at most."""
        return bytes(self._buffer[:most])

    def keep(self, data: bytes) -> None:
        """Begin with these; all of them were searched."""
        self._buffer = bytearray(data)
        self._searched = len(data)

    def collect(
        self, data: bytes, at: int, pattern: re.Pattern[bytes], most: int
    ) -> tuple[int, bytes | None]:
        """How many bytes of ``data`` from ``at`` were taken, and all up to the pattern's end.

        None where it has not come yet. No more than ``most`` and a few bytes are ever held.
        """
        if not self._buffer:
            match = pattern.search(data, at, at + most + _OVERLAP)
            if match is not None:
                return match.end() - at, data[at : match.end()]
        before = len(self._buffer)
        piece = data[at : at + max(most + _OVERLAP - before, 1)]
        self._buffer += piece
        match = pattern.search(self._buffer, max(self._searched - _OVERLAP, 0))
        if match is None:
            self._searched = len(self._buffer)
            return len(piece), None
        raw = bytes(self._buffer[: match.end()])
        self.clear()
        return len(raw) - before, raw
