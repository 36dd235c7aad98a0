"""Samples of all CPUs in one order of time, in bounded memory.

Rule 1: a ROUND says that all samples older than the previous ROUND's clock have been written
(formats/samples.md 5), so that two rounds of samples are all that is held.
Rule 2: a straggler (a program interrupted between reading the clock and the output) is put
where it belongs in the second pass; the first pass finds and keeps it.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from qtapture.reassembly.perf import LostMark, iter_perf
from qtapture.reassembly.samples import sample_time
from qtapture.source import EventRecord, EventType, Hole, Record, Slice

__all__ = ["Item", "Late", "Merge"]

# Two rounds of the default 64 MiB of rings and a margin; past it the older half is let go.
MOST_HELD_BYTES = 192 << 20
# An item's own cost in memory beside its bytes, so that many small ones count too.
_ITEM_COST = 200
# Stragglers kept for the second pass (2 in 142,484 were measured); others are only counted.
MOST_LATE = 4096
MOST_LATE_BYTES = 16 << 20
# Holes whose times are remembered; a file with more is hardly a session any longer.
MOST_HOLE_SPANS = 65_536
_ROUND_CLOCK = struct.Struct("<Q")


class Item(NamedTuple):
    """Something at a time. ``sequence`` is unique, so that comparing ends there."""

    time_ns: int
    sequence: int
    number: int  # of the sample in the session, from 1; 0 for other things
    epoch: int  # holes in the file before it
    what: bytes | EventRecord


@dataclass(slots=True, kw_only=True)
class Late:
    """What came after its time."""

    kept: list[Item] = field(default_factory=list)
    kept_bytes: int = 0
    count: int = 0

    def add(self, item: Item) -> None:
        """Count a straggler, and keep it while there is room."""
        self.count += 1
        size = len(item.what) if isinstance(item.what, bytes) else len(item.what.body)
        if len(self.kept) < MOST_LATE and self.kept_bytes + size <= MOST_LATE_BYTES:
            self.kept.append(item)
            self.kept_bytes += size


class Merge:
    """One pass over the records of a source. The counts are final when it ends."""

    def __init__(self, late: Late | None = None) -> None:
        self.late = Late()
        self.samples = 0
        self.malformed = 0
        self.lost_marks = 0
        self.holes = 0
        self.hole_spans: list[tuple[int, int]] = []  # times whose samples may be missing
        self._before = sorted(late.kept) if late else []
        self._known = {item.sequence for item in self._before}
        self._held: list[Item] = []
        self._held_bytes = 0
        self._sequence = 0
        self._previous_round: int | None = None
        self._reached = -1  # time of the latest item given out
        self._newest = 0

    def iter_items(self, records: Iterable[Record]) -> Iterator[Item]:
        """Samples and events in order of time; stragglers of the first pass at once."""
        for record in records:
            match record:
                case Slice():
                    self._take_slice(record)
                case EventRecord(type=EventType.ROUND):
                    yield from self._round(record)
                case EventRecord():
                    self._hold(record.time_ns, 0, record, len(record.body))
                case Hole():
                    self._hole()
            if self._held_bytes > MOST_HELD_BYTES:
                yield from self._release(self._median_time())
        yield from self._release(None)
        yield from self._stragglers(None)

    def _hole(self) -> None:
        """What is missing began after the last round before it and ends with the next one."""
        self.holes += 1
        if len(self.hole_spans) < MOST_HOLE_SPANS:
            self.hole_spans.append((self._previous_round or 0, 1 << 64))

    def _take_slice(self, piece: Slice) -> None:
        for raw in iter_perf(piece.data):
            if isinstance(raw, LostMark):
                self.lost_marks += raw.lost
                continue
            time_ns = None if raw is None else sample_time(raw)
            if raw is None or time_ns is None:
                self.malformed += 1
                continue
            self.samples += 1
            self._hold(time_ns, self.samples, raw, len(raw))

    def _hold(self, time_ns: int, number: int, what: bytes | EventRecord, size: int) -> None:
        self._sequence += 1
        if self._sequence in self._known:
            return
        self._newest = max(self._newest, time_ns)
        self._held.append(Item(time_ns, self._sequence, number, self.holes, what))
        self._held_bytes += size + _ITEM_COST

    def _round(self, record: EventRecord) -> Iterator[Item]:
        if len(record.body) < _ROUND_CLOCK.size:
            self.malformed += 1
            return
        clock = int(_ROUND_CLOCK.unpack_from(record.body)[0])
        if self.hole_spans and self.hole_spans[-1][1] == 1 << 64:
            self._end_holes(clock)
        if self._previous_round is not None:
            yield from self._release(self._previous_round)
        self._previous_round = clock

    def _end_holes(self, clock: int) -> None:
        for at in range(len(self.hole_spans) - 1, -1, -1):
            if self.hole_spans[at][1] != 1 << 64:
                break
            self.hole_spans[at] = (self.hole_spans[at][0], clock)

    def _median_time(self) -> int:
        times = sorted(item.time_ns for item in self._held)
        return times[len(times) // 2] + 1

    def _release(self, before_ns: int | None) -> Iterator[Item]:
        """Give out what is older than ``before_ns``, everything without it."""
        self._held.sort()
        end = len(self._held)
        if before_ns is not None:
            end = bisect_left(self._held, before_ns, key=lambda item: item.time_ns)
        ready = self._held[:end]
        del self._held[:end]
        self._held_bytes = sum(
            len(i.what) if isinstance(i.what, bytes) else len(i.what.body) for i in self._held
        ) + _ITEM_COST * len(self._held)
        for item in ready:
            if item.time_ns < self._reached:
                self.late.add(item)
            else:
                self._reached = item.time_ns
            if self._before:
                yield from self._stragglers(item)
            yield item

    def _stragglers(self, following: Item | None) -> Iterator[Item]:
        count = 0
        for item in self._before:
            if following is not None and item > following:
                break
            count += 1
            yield item
        del self._before[:count]
