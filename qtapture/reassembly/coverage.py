"""Which bytes of one direction are accounted for, and which are missing and why.

Rule 1: a piece accounts for all the bytes that it stands for, captured or not; what it did not
capture is missing for a reason that the piece itself states.
Rule 2: what no piece accounts for is a hole: lost on its way.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from qtapture.events import ReasonCode

__all__ = ["MOST_STRETCHES", "Coverage", "Stretch"]

# Holes kept for one direction; past it the smallest memory wins and the oldest two spans are
# joined, their hole counted in `forgotten`. 64 KiB spans are 4 MiB.
MOST_SPANS = 65_536
# Stretches that are listed one by one as reasons; further ones are summed up.
MOST_STRETCHES = 16


@dataclass(frozen=True, slots=True)
class Stretch:
    """Missing bytes from ``start`` to ``end`` (one past the last, None where unknown)."""

    start: int
    end: int | None
    reason: ReasonCode


@dataclass(slots=True)
class Coverage:
    """Accounted spans in order, none touching another, and what pieces did not capture."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    # None until needed: there are two of these for each of a million connections.
    damaged: set[int] | None = None  # starts of holes made by the file
    missing: dict[ReasonCode, list[int]] | None = None  # stretches, bytes
    stretches: list[Stretch] | None = None
    forgotten: int = 0  # bytes in holes that were too many to keep
    epoch: int = 0

    @property
    def end(self) -> int:
        """One past the last accounted byte."""
        return self.ends[-1] if self.ends else 0

    def add(self, start: int, end: int, epoch: int) -> None:
        """Account for a span. ``epoch`` counts holes in the file before the sample."""
        if end <= start:
            return
        reached = self.end
        if epoch != self.epoch:
            if start > reached:
                self.damaged = self.damaged or set()
                self.damaged.add(reached)
            self.epoch = epoch
        if start == reached and self.ends:
            self.ends[-1] = end
            return
        self._insert(start, end)
        if len(self.starts) > MOST_SPANS:
            self._forget_oldest_hole()

    def _insert(self, start: int, end: int) -> None:
        low = bisect_left(self.ends, start)
        high = bisect_right(self.starts, end)
        if low < high:  # touches what is there
            start = min(start, self.starts[low])
            end = max(end, self.ends[high - 1])
        self.starts[low:high] = [start]
        self.ends[low:high] = [end]

    def _forget_oldest_hole(self) -> None:
        self.forgotten += self.starts[1] - self.ends[0]
        del self.starts[1], self.ends[0]

    def miss(self, start: int, end: int, reason: ReasonCode) -> None:
        """Note bytes that a piece stands for and does not have."""
        self.missing = self.missing or {}
        self.stretches = self.stretches or []
        counts = self.missing.setdefault(reason, [0, 0])
        counts[0] += 1
        counts[1] += end - start
        if len(self.stretches) < MOST_STRETCHES:
            self.stretches.append(Stretch(start, end, reason))

    def iter_holes(self, start: int, end: int) -> Iterator[Stretch]:
        """What nothing accounts for between ``start`` and ``end``."""
        position = start
        for first, last in zip(self.starts, self.ends, strict=True):
            if first >= end:
                break
            if first > position:
                yield self._hole(position, first)
            position = max(position, last)
        if position < end:
            yield self._hole(position, end)

    def _hole(self, start: int, end: int) -> Stretch:
        damaged = self.damaged is not None and start in self.damaged
        reason = ReasonCode.DAMAGED_SESSION if damaged else ReasonCode.LOST_SAMPLES
        return Stretch(start, end, reason)
