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
    Hole,
    chain_of_header,
    pack_header,
    pack_hole,
)
from qtapture.session.reader import SessionReader
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
        places = sorted(_iter_places(Scan(file)), key=lambda place: place.sequence)
        if not places:
            raise NotASessionError(f"{path}: not one chunk can be read", offset=0)
        header = pack_header(reader.header)
        output.write(header)
        copier = _Copier(file, output, chain_of_header(header))
        for candidates in _by_sequence(places):
            copier.copy(candidates)
        if not reader.closed:
            copier.hole(NOWHERE, _NO_CHAIN)
    return Recovery(chunks=copier.chunks, holes=copier.holes, left_out=copier.left_out)


class _Copier:
    """Copies chunks in order and states where the chain breaks."""

    def __init__(self, file: BinaryIO, output: BinaryIO, chain: bytes) -> None:
        self._file = file
        self._output = output
        self._chain = chain
        self._last = NOWHERE
        self.chunks = self.holes = self.left_out = 0

    def copy(self, candidates: list[_Place]) -> None:
        """One of the chunks that claim the same sequence number: the one that fits the chain."""
        place = next((c for c in candidates if c.previous == self._chain), candidates[0])
        self.left_out += len(candidates) - 1
        if place.previous != self._chain:
            self.hole(place.sequence, place.previous)
        self._file.seek(place.offset)
        self._output.write(self._file.read(place.size))
        self._chain, self._last = place.chain, place.sequence
        self.chunks += 1

    def hole(self, next_: int, previous: bytes) -> None:
        """Something is missing here."""
        hole = Hole(last=self._last, last_chain=self._chain, next=next_, next_previous=previous)
        self._output.write(pack_hole(hole))
        self.holes += 1


def _iter_places(scan: Scan) -> Iterator[_Place]:
    return (_place(found) for found in scan.iter_chunks())


def _place(found: Found) -> _Place:
    frame = found.frame
    size = CHUNK_SIZE + frame.stored_len
    return _Place(frame.sequence, found.offset, size, frame.previous, frame.chain)


def _by_sequence(places: list[_Place]) -> Iterator[list[_Place]]:
    group: list[_Place] = []
    for place in places:
        if group and group[0].sequence != place.sequence:
            yield group
            group = []
        group.append(place)
    if group:
        yield group
