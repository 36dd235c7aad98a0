"""Rounds: what is in the rings goes to the writer, and what was lost is told.

Rule 1: the clock is read before the ring heads are, and said after the round: replay orders by it.
Rule 2: losses are told in intervals, cumulative, when they have grown, and all of them at the end.
"""

from collections.abc import Iterable

from qtapture.capture.attaching import Report
from qtapture.capture.probes import Probes
from qtapture.record.facts import anchor_body, json_body, loss_body, ring_loss_body, round_body
from qtapture.record.writing import Writing
from qtapture.source import EventType
from qtapture.timebase import boottime_ns, read_anchor

__all__ = ["Drain"]

_COUNT_EVERY_NS = 250_000_000
_ANCHOR_EVERY_NS = 60_000_000_000
_REPORT_TYPES = {"library": EventType.LIBRARY, "mapped": EventType.MAPPED, "note": EventType.NOTE}
_LOST, _SKIPPED = 2, 4  # of struct qt_count
_SUBMITTED, _SUBMITTED_BYTES = 0, 1


class Drain:
    """Moves samples of one recording, and keeps its accounts."""

    def __init__(self, probes: Probes, writing: Writing) -> None:
        self._probes = probes
        self._writing = writing
        self._counted_ns = boottime_ns()
        self._anchored_ns = self._counted_ns
        self._told: list[tuple[int, ...]] = []
        self._told_rings: dict[tuple[int, int], int] = {}
        self.counts: list[tuple[int, ...]] = probes.counts()

    @property
    def samples(self) -> int:
        """Samples that probes gave out so far, as last counted."""
        return sum(count[_SUBMITTED] for count in self.counts)

    @property
    def payload(self) -> int:
        """Bytes that they stand for."""
        return sum(count[_SUBMITTED_BYTES] for count in self.counts)

    @property
    def lost(self) -> int:
        """Samples that found no room, or no buffer."""
        return sum(count[_LOST] + count[_SKIPPED] for count in self.counts)

    def round(self) -> bool:
        """Drain everything once; False where there was nothing."""
        clock_ns = boottime_ns()
        moved = False
        for ring, cpu, data in self._probes.iter_drained():
            self._writing.slice(ring, cpu, data)
            moved = True
        if moved:
            self._writing.event(EventType.ROUND, round_body(clock_ns), clock_ns)
        if clock_ns - self._counted_ns >= _COUNT_EVERY_NS:
            self._count(clock_ns)
        if clock_ns - self._anchored_ns >= _ANCHOR_EVERY_NS:
            self.anchor()
            self._writing.checkpoint()
        return moved

    def report(self, reports: Iterable[Report]) -> None:
        """Write down what the attacher found."""
        for report in reports:
            facts = {key: report[key] for key in report if key not in {"kind", "time_ns"}}
            type_ = _REPORT_TYPES[report["kind"]]
            self._writing.event(type_, json_body(facts), report["time_ns"])

    def anchor(self) -> None:
        """Tie the clocks together once more."""
        anchor = read_anchor()
        self._anchored_ns = anchor.boottime_ns
        self._writing.event(EventType.ANCHOR, anchor_body(anchor), anchor.boottime_ns)

    def finish(self) -> None:
        """After every probe is out: the last counts, then the last samples."""
        now_ns = boottime_ns()
        self._count(now_ns, everything=True)
        while self.round():
            pass
        self.anchor()

    def _count(self, now_ns: int, *, everything: bool = False) -> None:
        start_ns, self._counted_ns = self._counted_ns, now_ns
        self.counts = self._probes.counts()
        told = self._told or [(0,) * len(count) for count in self.counts]
        for kind, (count, before) in enumerate(zip(self.counts, told, strict=True)):
            grown = count[_LOST:] != before[_LOST:]
            if everything or grown:
                body = loss_body(start_ns, kind, count)
                self._writing.event(EventType.LOSS, body, now_ns)
        self._told = self.counts
        for ring, cpu, lost in self._probes.ring_losses():
            if everything or lost != self._told_rings.get((ring, cpu), 0):
                self._told_rings[ring, cpu] = lost
                body = ring_loss_body(ring, cpu, lost)
                self._writing.event(EventType.RING_LOSS, body, now_ns)
