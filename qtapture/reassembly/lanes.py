"""One direction of one connection while it is streamed: bytes leave it in order of offset."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qtapture.events import Connection, Direction, Gap, Process, ReasonCode, Segment
from qtapture.reassembly.coverage import Stretch

__all__ = ["Piece", "StreamLane"]

# Bytes of one direction that wait for others: two threads that speak at a time are some pieces
# of 16 KiB apart, so that 16 MiB means that what is waited for will not come.
MOST_WAITING_BYTES = 16 << 20
# An unordered piece's own cost, so that many empty ones count too.
_PIECE_COST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of the stream, of which the first ``len(data)`` bytes were captured."""

    start: int
    end: int
    data: bytes
    missing: ReasonCode  # why the rest was not
    number: int
    tid: int
    process: Process | None
    plaintext: bool


@dataclass(slots=True)
class StreamLane:
    """Puts pieces in order; ``holes`` is what will never come, known beforehand."""

    connection: Connection
    direction: Direction
    holes: Sequence[Stretch]
    time_ns: int = 0
    _next: int = 0  # offset of the next byte to leave
    _hole: int = 0
    _waiting: list[tuple[int, int, Piece]] = field(default_factory=list)
    _waiting_bytes: int = 0

    def take(self, piece: Piece) -> Iterator[Segment | Gap]:
        """Give out what is in order now; times are ``time_ns``, which the caller moves."""
        yield from self._pass_holes(piece.start)
        if piece.start > self._next:
            heapq.heappush(self._waiting, (piece.start, piece.number, piece))
            self._waiting_bytes += len(piece.data) + _PIECE_COST
        else:
            yield from self._give(piece)
        yield from self._give_waiting()
        while self._waiting_bytes > MOST_WAITING_BYTES:
            yield from self._skip_to(self._waiting[0][0])
            yield from self._give_waiting()

    def finish(self) -> Iterator[Segment | Gap]:
        """Nothing more comes: give out what waits, and the holes at the end."""
        while self._waiting:
            yield from self._pass_holes(self._waiting[0][0])
            yield from self._skip_to(self._waiting[0][0])
            yield from self._give_waiting()
        yield from self._pass_holes(None)

    def _give_waiting(self) -> Iterator[Segment | Gap]:
        while self._waiting:
            yield from self._pass_holes(self._waiting[0][0])
            if self._waiting[0][0] > self._next:
                return
            piece = heapq.heappop(self._waiting)[2]
            self._waiting_bytes -= len(piece.data) + _PIECE_COST
            yield from self._give(piece)

    def _pass_holes(self, until: int | None) -> Iterator[Gap]:
        """Holes that begin where we are, before something at ``until`` (None: at the end)."""
        while self._hole < len(self.holes):
            hole = self.holes[self._hole]
            if hole.start > self._next and until is not None:
                return
            if until is not None and hole.start > until:
                return
            self._hole += 1
            if hole.start > self._next:
                yield from self._skip_to(hole.start)
            if hole.end is None:
                yield self._gap(hole.start, None, hole.reason)
            elif hole.end > self._next:
                yield self._gap(self._next, hole.end - self._next, hole.reason)
                self._next = hole.end

    def _skip_to(self, offset: int) -> Iterator[Gap]:
        if offset > self._next:
            yield self._gap(self._next, offset - self._next, ReasonCode.LOST_SAMPLES)
            self._next = offset

    def _give(self, piece: Piece) -> Iterator[Segment | Gap]:
        """A piece at or before our place: what was given out already is not given twice."""
        if piece.end <= self._next:
            return
        data = piece.data[self._next - piece.start :]
        if data:
            yield Segment(
                connection=self.connection,
                direction=self.direction,
                offset=self._next,
                data=data,
                time_ns=self.time_ns,
                process=piece.process,
                tid=piece.tid,
                record=piece.number,
                plaintext=piece.plaintext,
            )
            self._next += len(data)
        if self._next < piece.end:
            yield self._gap(self._next, piece.end - self._next, piece.missing)
            self._next = piece.end

    def _gap(self, offset: int, length: int | None, reason: ReasonCode) -> Gap:
        return Gap(
            connection=self.connection,
            direction=self.direction,
            offset=offset,
            length=length,
            reason=reason,
            time_ns=self.time_ns,
        )
