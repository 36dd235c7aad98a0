"""A new session out of what is left of one: every readable chunk, and a hole where one is missing.

Rule 1: the input is only read.
Rule 2: chunks are copied byte for byte; only header (where it came out of a checkpoint) and holes
        are written anew, and the index, whose places would be wrong, is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from qtapture.errors import NotASessionError
from qtapture.session.frames import (
    CHUNK_SIZE,
    NOWHERE,
    ChunkKind,
    Hole,
    chain_of_header,
    pack_hole,
)
from qtapture.session.reader import SessionReader, is_readable
from qtapture.session.scan import Found, Scan

__all__ = ["Recovery", "recover_session"]

_NO_CHAIN = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What was written. ``left_out``: readable chunks that have no place in this session."""

    chunks: int
    holes: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _Place:
    sequence: int
    kind: int
    offset: int
    size: int
    previous: bytes
    chain: bytes


def recover_session(reader: SessionReader, path: Path, output: BinaryIO) -> Recovery:
    """Write what can be read of ``path``, which ``reader`` has opened, to ``output``.

    Raises:
        NotASessionError: not one chunk can be read.
        OSError: the output cannot be written.
    """
    with path.open("rb") as file:
        scan = Scan(file)
        places = sorted(_iter_places(scan), key=lambda place: place.sequence)
        if not places:
            raise NotASessionError(f"{path}: not one chunk can be read", offset=0)
        output.write(reader.header_frame)
        copier = _Copier(file, output, chain_of_header(reader.header_frame), _links(scan, places))
        for candidates in _by_sequence(places):
            copier.copy(candidates)
        if not copier.closed:
            copier.hole(NOWHERE, _NO_CHAIN)
    return Recovery(chunks=copier.chunks, holes=copier.holes, left_out=copier.left_out)


@dataclass(frozen=True, slots=True)
class _Links:
    """What tells a chunk of this session from another's with the same number."""

    index: tuple[bytes, bytes] | None  # chain values before and behind the index, which is left out
    named: frozenset[bytes]  # the chain values that some chunk, or the index, names as previous


class _Copier:
    """Copies chunks in order and states where the chain breaks."""

    def __init__(self, file: BinaryIO, output: BinaryIO, chain: bytes, links: _Links) -> None:
        self._file = file
        self._output = output
        self._chain = chain
        self._links = links
        self._last = NOWHERE
        self.closed = False
        self.chunks = self.holes = self.left_out = 0

    def copy(self, candidates: list[_Place]) -> None:
        """One of the chunks that claim the same sequence number: the one that fits the chain."""
        place = max(candidates, key=self._fits)  # of equals the first
        self.left_out += len(candidates) - 1
        following = 0 if self._last == NOWHERE else self._last + 1
        if (place.sequence, place.previous) != (following, self._chain):
            self.hole(place.sequence, place.previous)
        self._file.seek(place.offset)
        self._output.write(self._file.read(place.size))
        self._chain, self._last = place.chain, place.sequence
        signs = self.closed and place.kind == ChunkKind.SIGNATURE
        self.closed = place.kind == ChunkKind.MANIFEST or signs
        self.chunks += 1

    def _fits(self, place: _Place) -> tuple[bool, bool]:
        """Whether it follows what was copied, and whether something follows it."""
        follows = place.previous == self._chain or self._links.index == (
            self._chain,
            place.previous,
        )
        return follows, place.chain in self._links.named

    def hole(self, next_: int, previous: bytes) -> None:
        """Something is missing here."""
        self.closed = False
        hole = Hole(last=self._last, last_chain=self._chain, next=next_, next_previous=previous)
        self._output.write(pack_hole(hole))
        self.holes += 1


def _iter_places(scan: Scan) -> Iterator[_Place]:
    # What does not decompress was so when it was hashed; copied, it would be damage still.
    return (_place(found) for found in scan.iter_chunks() if is_readable(found))


def _place(found: Found) -> _Place:
    frame = found.frame
    size = CHUNK_SIZE + frame.stored_len
    return _Place(frame.sequence, frame.kind, found.offset, size, frame.previous, frame.chain)


def _links(scan: Scan, places: list[_Place]) -> _Links:
    named = [place.previous for place in places]
    return _Links(scan.index_link, frozenset([*named, *(scan.index_link or ())[:1]]))


def _by_sequence(places: list[_Place]) -> Iterator[list[_Place]]:
    group: list[_Place] = []
    for place in places:
        if group and group[0].sequence != place.sequence:
            yield group
            group = []
        group.append(place)
    if group:
        yield group
