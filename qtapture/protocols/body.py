"""Bodies of messages: small ones in memory, the rest in one file that all share.

A file for each would need a descriptor for each of thousands of open transfers.
"""

import tempfile
from collections.abc import Iterator
from typing import IO

from qtapture.protocols.content import Decoding, codings_of, decode

__all__ = ["Spool", "StoredBody"]

# In memory for each open message: 10,000 of them are 160 MB at worst.
_MOST_IN_MEMORY = 16 << 10
_PIECE = 256 << 10
# Extents in the file grow to this size before they are written: few, hence cheap to keep.
_EXTENT = 64 << 10


class Spool:
    """One unnamed file for the bodies of all conversations; it goes when none is open."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0
        self._users = 0

    def append(self, data: bytes) -> int:
        """Store bytes; their place."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="qtapture-bodies-")  # noqa: SIM115
        at = self._end
        self._file.seek(at)
        self._file.write(data)
        self._end += len(data)
        return at

    def read(self, at: int, size: int) -> bytes:
        """Stored bytes."""
        if self._file is None:
            return b""
        self._file.seek(at)
        return self._file.read(size)

    def enter(self) -> None:
        """A body began to use it."""
        self._users += 1

    def leave(self) -> None:
        """A body gave its bytes back."""
        self._users -= 1
        if self._users == 0 and self._file is not None:
            self._file.close()
            self._file = None
            self._end = 0


_SPOOL = Spool()


class StoredBody:
    """The content of one message (`qtapture.events.Body`): filled by `append`, read when whole."""

    __slots__ = ("_closed", "_codings", "_decoding", "_extents", "_pending", "_size", "_spool")

    def __init__(self, spool: Spool = _SPOOL) -> None:
        self._spool = spool
        self._pending = bytearray()
        self._extents: list[tuple[int, int]] = []
        self._size = 0
        self._codings: tuple[str, ...] = ()
        self._decoding: Decoding | None = None
        self._closed = False

    def append(self, data: bytes) -> None:
        """More of it, without transfer coding."""
        self._pending += data
        self._size += len(data)
        limit = _EXTENT if self._extents else _MOST_IN_MEMORY
        if len(self._pending) > limit:
            self._flush()

    def coded(self, content_encoding: list[bytes]) -> None:
        """Say what Content-Encoding said; decoding happens when somebody asks."""
        self._codings = codings_of(content_encoding)

    @property
    def encoded_size(self) -> int:
        """Bytes on the wire without transfer coding."""
        return self._size

    @property
    def decoded_size(self) -> int:
        """Bytes after all content codings were taken off."""
        return self._decoded().size if self._codings else self._size

    @property
    def codings(self) -> tuple[str, ...]:
        """Content codings taken off, outermost (last applied) first."""
        return () if self.undecodable else self._codings

    @property
    def undecodable(self) -> str | None:
        """Why the body is shown encoded, None where it was decoded."""
        return self._decoded().undecodable if self._codings and self._size else None

    @property
    def decode_limited(self) -> bool:
        """Whether decoding stopped at a cap."""
        return self._decoded().limited if self._codings and self._size else False

    def iter_encoded(self) -> Iterator[bytes]:
        """Pieces of the encoded bytes, in order."""
        for at, size in self._extents:
            for start in range(0, size, _PIECE):
                yield self._spool.read(at + start, min(_PIECE, size - start))
        if self._pending:
            yield bytes(self._pending)

    def iter_decoded(self) -> Iterator[bytes]:
        """Pieces of the decoded bytes; the encoded ones where they cannot be decoded."""
        if not self._codings or self.undecodable:
            yield from self.iter_encoded()
            return
        yield from decode(self._codings, self.iter_encoded(), Decoding())

    def close(self) -> None:
        """Give the storage back."""
        if not self._closed and self._extents:
            self._spool.leave()
        self._closed = True
        self._extents = []
        self._pending = bytearray()

    def _decoded(self) -> Decoding:
        """Decode once to learn how it ends; the bytes are not kept."""
        if self._decoding is None:
            decoding = Decoding()
            for piece in decode(self._codings, self.iter_encoded(), decoding):
                decoding.size += len(piece)
            if decoding.undecodable:
                decoding.size = self._size
            self._decoding = decoding
        return self._decoding

    def _flush(self) -> None:
        if not self._extents:
            self._spool.enter()
        at = self._spool.append(bytes(self._pending))
        last = self._extents[-1] if self._extents else None
        if last is not None and last[0] + last[1] == at:
            self._extents[-1] = (last[0], last[1] + len(self._pending))
        else:
            self._extents.append((at, len(self._pending)))
        self._pending.clear()
