"""Content codings: gzip, deflate, br, zstd, stacked, in pieces, up to a limit.

The only module of this island that knows zstandard and brotli; both are loaded when a body needs
them.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

__all__ = ["Decoding", "codings_of", "decode"]

# A body that decodes to more is shown so far: 256 MiB is more than any viewer takes.
_MOST_DECODED = 256 << 20
# Beyond this size, no more than so many times the encoded bytes: what deflate can do at best is
# 1,032 (RFC 1951), and who sends that sends a bomb.
_FREE = 1 << 20
_MOST_RATIO = 1000
_PIECE = 64 << 10
# Of the input, to go over it again where it is damaged or cut: most bodies are smaller.
_MOST_KEPT = 256 << 10
# RFC 9110 8.4.1: names that mean the same.
_ALIASES = {"x-gzip": "gzip", "x-compress": "compress", "zlib": "deflate"}
# One coding upon another is rare; a list of hundreds is an attack.
_MOST_CODINGS = 8


@dataclass(slots=True)
class Decoding:
    """How decoding went. ``size``: decoded bytes."""

    size: int = 0
    undecodable: str | None = None
    limited: bool = False


# Decoded pieces of limited size; raises `_Broken`.
_Decoder = Callable[[Iterable[bytes]], Iterator[bytes]]


class _Broken(Exception):  # noqa: N818 - private, never leaves this module
    """The bytes are not what the coding says."""


def codings_of(values: list[bytes]) -> tuple[str, ...]:
    """Codings of Content-Encoding lines, outermost (last applied) first; identity is none."""
    names = b",".join(values).decode("latin-1").lower().split(",")
    cleaned = [_ALIASES.get(name.strip(), name.strip()) for name in names]
    return tuple(name for name in reversed(cleaned) if name and name != "identity")


def decode(
    codings: tuple[str, ...], pieces: Iterable[bytes], encoded_size: int, decoding: Decoding
) -> Iterator[bytes]:
    """Take codings off; ``decoding`` tells how it went when this has ended.

    What a broken or cut body held up to there is given; a body of which nothing can be decoded
    is undecodable.
    """
    unknown = [name for name in codings if name not in _DECODERS]
    if unknown or len(codings) > _MOST_CODINGS:
        decoding.undecodable = (
            f"unknown coding {unknown[0][:40]}" if unknown else "too many codings"
        )
        return
    most = min(_MOST_DECODED, max(_FREE, encoded_size * _MOST_RATIO))
    stream = pieces
    for name in codings:
        # Each coding has its limit: what is between two of them can be the bomb.
        stream = _limited(_DECODERS[name](stream), most, decoding)
    given = False
    try:
        for piece in stream:
            given = True
            yield piece
    except _Broken as error:
        if not given:
            decoding.undecodable = str(error)
        # Else what came is shown; the message says that it is not whole.


def _limited(pieces: Iterator[bytes], most: int, decoding: Decoding) -> Iterator[bytes]:
    for piece in pieces:
        if len(piece) > most:
            decoding.limited = True
            yield piece[:most]
            return
        most -= len(piece)
        yield piece


class _Zlib:
    """gzip (several members, RFC 1952 2.2) or deflate (zlib's, or raw as some servers send)."""

    def __init__(self, window: int, name: str) -> None:
        self._window = window
        self._name = name
        self._object: Any = None
        self._began = False

    def iter_decoded(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield from self._feed(piece)
        if self._object is not None:
            raise _Broken(f"{self._name}: cut before anything could be decoded")

    def _feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._object is None:
                if self._began and not data.lstrip(b"\0"):
                    return  # padding behind the last member
                self._object = zlib.decompressobj(self._window_of(data))
                self._began = True
            before = self._object.copy()
            try:
                piece = self._object.decompress(data, _PIECE)
            except zlib.error as error:
                yield from _up_to_damage(before, data)
                raise _Broken(f"{self._name}: {error}") from None
            if piece:
                yield piece
            data = self._object.unconsumed_tail
            if self._object.eof:
                data = self._object.unused_data
                self._object = None
            elif not piece and not data:
                return

    def _window_of(self, data: bytes) -> int:
        raw = self._window == zlib.MAX_WBITS and data[0] & 0x0F != zlib.DEFLATED
        return -zlib.MAX_WBITS if raw else self._window


def _up_to_damage(before: Any, data: bytes) -> Iterator[bytes]:  # noqa: ANN401 - zlib has no name for it
    """What zlib would have given had it been fed up to the byte that it refuses."""
    for at in range(len(data)):
        try:
            piece = before.decompress(data[at : at + 1])
        except zlib.error:
            return
        if piece:
            yield piece


class _Brotli:
    """RFC 7932. A call that fails gives nothing of what it decoded: then all is done again."""

    def __init__(self) -> None:
        import brotli  # noqa: PLC0415 - only where a body needs it

        self._new: Callable[[], Any] = brotli.Decompressor
        self._error: type[Exception] = brotli.error
        self._kept = bytearray()  # what went in, while it is little

    def iter_decoded(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        given = 0
        try:
            for piece in self._iter_pieces(self._iter_kept(pieces)):
                given += len(piece)
                yield piece
        except self._error:
            yield from self._iter_again(given)
            raise _Broken("br: not brotli, or damaged") from None

    def _iter_kept(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if len(self._kept) <= _MOST_KEPT:
                self._kept += piece
            yield piece

    def _iter_pieces(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        decompressor = self._new()
        for data in pieces:
            piece = decompressor.process(data, output_buffer_limit=_PIECE)
            while piece or not decompressor.can_accept_more_data():
                yield piece
                if decompressor.is_finished():
                    return  # what is behind the end is no part of it
                piece = decompressor.process(b"", output_buffer_limit=_PIECE)
            if decompressor.is_finished():
                return
        raise _Broken("br: cut before anything could be decoded")

    def _iter_again(self, given: int) -> Iterator[bytes]:
        """Byte by byte up to the one that fails, without what was given already."""
        if len(self._kept) > _MOST_KEPT:
            return
        kept = bytes(self._kept)
        try:
            for piece in self._iter_pieces(kept[at : at + 1] for at in range(len(kept))):
                new = piece[given:]
                given = max(given - len(piece), 0)
                if new:
                    yield new
        except self._error:
            return


class _Pull:
    """Pieces for who wants to read; an empty one is the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = (piece for piece in pieces if piece)
        self.beginning = bytearray()  # as much as a block's output can wait for

    def read(self, _size: int) -> bytes:
        piece = next(self._pieces, b"")
        if len(self.beginning) <= _MOST_KEPT:
            self.beginning += piece
        return piece


def _zstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415 - only where a body needs it

    # RFC 9659: a window of 8 MiB is the most that a zstd content coding may use.
    decompressor = zstandard.ZstdDecompressor(max_window_size=8 << 20)
    source = _Pull(pieces)
    reader = decompressor.stream_reader(cast("Any", source), read_across_frames=True)
    given = False
    try:
        while piece := reader.read1(_PIECE):
            given = True
            yield piece
        if not given:
            _check_empty(decompressor.decompressobj(), bytes(source.beginning))
    except zstandard.ZstdError:
        raise _Broken("zstd: not zstd, or damaged") from None


def _check_empty(frame: Any, data: bytes) -> None:  # noqa: ANN401 - zstandard's, loaded late
    """A reader does not tell a frame of nothing from one that was cut before its first block."""
    frame.decompress(data)
    if data and not frame.eof:
        raise _Broken("zstd: cut before anything could be decoded")


_DECODERS: dict[str, _Decoder] = {
    "gzip": lambda pieces: _Zlib(zlib.MAX_WBITS | 16, "gzip").iter_decoded(pieces),
    "deflate": lambda pieces: _Zlib(zlib.MAX_WBITS, "deflate").iter_decoded(pieces),
    "br": lambda pieces: _Brotli().iter_decoded(pieces),
    "zstd": _zstd,
}
