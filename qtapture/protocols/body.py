"""Bodies of messages: small ones in memory, the rest in one file that all share."""

from collections.abc import Iterator

from qtapture.protocols.content import Decoding, codings_of, decode
from qtapture.protocols.spool import BLOCK, Spool

__all__ = ["StoredBody"]

# In memory for each open message: 10,000 of them are 160 MB at worst.
_MOST_IN_MEMORY = 16 << 10

_SPOOL = Spool()


class StoredBody:
    """The content of one message (`qtapture.events.Body`): filled by `append`, read when whole."""

    __slots__ = ("_blocks", "_codings", "_decoding", "_hole", "_pending", "_size", "_spool")

    def __init__(self, spool: Spool = _SPOOL) -> None:
        self._spool = spool
        self._pending = bytearray()  # not in a block yet
        self._blocks: list[int] = []  # all full but the last
        self._size = 0
        self._hole: int | None = None
        self._codings: tuple[str, ...] = ()
        self._decoding: Decoding | None = None

    def append(self, data: bytes) -> None:
        """More of it, without transfer coding."""
        self._pending += data
        self._size += len(data)
        if len(self._pending) > _MOST_IN_MEMORY:
            self._flush()

    def interrupt(self) -> None:
        """Bytes are missing here: what is coded cannot be decoded past it."""
        if self._hole is None:
            self._hole = self._size

    def coded(self, codings: list[bytes]) -> None:
        """Say what Content-Encoding said; decoding happens when somebody asks."""
        self._codings = codings_of(codings)

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
        stored = self._size - len(self._pending)
        for index, block in enumerate(self._blocks):
            yield self._spool.read(block, min(BLOCK, stored - index * BLOCK))
        if self._pending:
            yield bytes(self._pending)

    def iter_decoded(self) -> Iterator[bytes]:
        """Pieces of the decoded bytes; the encoded ones where they cannot be decoded."""
        if not self._codings or self.undecodable:
            yield from self.iter_encoded()
        else:
            yield from decode(self._codings, self._iter_before_hole(), self._size, Decoding())

    def close(self) -> None:
        """Give the storage back."""
        if self._blocks:
            self._spool.give_back(self._blocks)
        self._blocks = []
        self._pending = bytearray()

    def _iter_before_hole(self) -> Iterator[bytes]:
        left = self._size if self._hole is None else self._hole
        for piece in self.iter_encoded():
            if left <= 0:
                return
            yield piece[:left]
            left -= len(piece)

    def _decoded(self) -> Decoding:
        """Decode once to learn how it ends; the bytes are not kept."""
        if self._decoding is None:
            decoding = Decoding()
            pieces = self._iter_before_hole()
            for piece in decode(self._codings, pieces, self._size, decoding):
                decoding.size += len(piece)
            if decoding.undecodable:
                decoding.size = self._size
            self._decoding = decoding
        return self._decoding

    def _flush(self) -> None:
        stored = self._size - len(self._pending)
        pending = memoryview(bytes(self._pending))
        while pending:
            at = stored % BLOCK
            if not at:
                self._blocks.append(self._spool.take())
            piece = pending[: BLOCK - at]
            self._spool.write(self._blocks[-1], at, bytes(piece))
            stored += len(piece)
            pending = pending[len(piece) :]
        self._pending.clear()
