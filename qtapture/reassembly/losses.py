"""What the recording says of its own losses: by kind, in intervals of time."""

import struct
from bisect import bisect_right
from dataclasses import dataclass, field, replace

from qtapture.events import Loss, ReasonCode
from qtapture.reassembly.samples import Kind
from qtapture.source import EventRecord

__all__ = ["KIND_NAMES", "LossBook", "LossCount", "RingLoss"]

# formats/session.md: start, kind, reserved, then struct qt_count, all cumulative.
_LOSS = struct.Struct("<QB7x6Q")
_RING_LOSS = struct.Struct("<IIQ")
# As `qtapture.events.Loss.kind` and every export name them.
KIND_NAMES: dict[int, str] = {
    Kind.CONTROL: "control",
    Kind.TLS: "tls",
    Kind.SOCKET: "socket",
    Kind.SOCKET_HEADS: "socket_heads",
    Kind.SECRETS: "secrets",
    Kind.PACKETS: "packets",
}
# One interval in 250 ms for each kind at most: a day of constant loss is 350,000 of each.
_MOST_INTERVALS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCount:
    """struct qt_count as last told for one kind."""

    submitted: int = 0
    submitted_bytes: int = 0
    lost: int = 0
    lost_bytes: int = 0
    skipped: int = 0
    skipped_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RingLoss:
    """What the kernel says that one ring of one CPU lost (PERF_FORMAT_LOST)."""

    ring: int
    cpu: int
    lost: int


@dataclass(slots=True)
class _Spans:
    """Intervals in which something was lost, in order of their ends."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def overlap(self, start: int, end: int) -> bool:
        """Whether any of them shares a moment with start..end."""
        at = bisect_right(self.ends, start)
        return at < len(self.ends) and self.starts[at] <= end


class LossBook:
    """The losses of a session, and whether one can have hit a given time."""

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self.counts: dict[int, LossCount] = {}
        self.rings: dict[tuple[int, int], RingLoss] = {}
        self.malformed = 0
        self._spans: dict[int, _Spans] = {}
        self._damage = _Spans()

    def loss(self, record: EventRecord) -> Loss | None:
        """A LOSS event; the difference to the previous one, None where nothing was lost."""
        if len(record.body) < _LOSS.size:
            self.malformed += 1
            return None
        start_ns, kind, *numbers = _LOSS.unpack_from(record.body)
        before = self.counts.get(kind, LossCount())
        now = LossCount(**dict(zip(LossCount.__dataclass_fields__, numbers, strict=True)))
        self.counts[kind] = now
        skipped = max(now.skipped - before.skipped, 0)
        lost = max(now.lost - before.lost, 0)
        if (not lost and not skipped) or len(self.losses) >= _MOST_INTERVALS:
            return None
        gone = now.lost_bytes + now.skipped_bytes - before.lost_bytes - before.skipped_bytes
        found = Loss(
            kind=KIND_NAMES.get(kind, f"kind {kind}"),
            samples=lost,
            bytes=max(gone, 0),
            start_ns=start_ns,
            time_ns=record.time_ns,
            skipped=skipped,
        )
        self._note(kind, found)
        return found

    def _note(self, kind: int, found: Loss) -> None:
        self.losses.append(found)
        spans = self._spans.setdefault(kind, _Spans())
        last = spans.ends[-1] if spans.ends else 0
        spans.starts.append(found.start_ns)
        spans.ends.append(max(found.time_ns, last))

    def ring_loss(self, record: EventRecord) -> None:
        """A RING_LOSS event: cumulative, the latest stands."""
        if len(record.body) < _RING_LOSS.size:
            self.malformed += 1
            return
        ring, cpu, lost = _RING_LOSS.unpack_from(record.body)
        known = self.rings.get((ring, cpu))
        found = RingLoss(ring=ring, cpu=cpu, lost=lost)
        self.rings[ring, cpu] = (
            found if known is None else replace(found, lost=max(lost, known.lost))
        )

    def damage(self, spans: list[tuple[int, int]]) -> None:
        """Times whose chunks are missing from the file."""
        for start, end in spans:
            self._damage.starts.append(start)
            self._damage.ends.append(max(end, self._damage.ends[-1] if self._damage.ends else 0))

    def maybe_hit(self, kinds: tuple[Kind, ...], start_ns: int, end_ns: int) -> ReasonCode | None:
        """Why something of these kinds may be missing in start..end, None if nothing can be."""
        if self._damage.overlap(start_ns, end_ns):
            return ReasonCode.DAMAGED_SESSION
        for kind in kinds:
            spans = self._spans.get(kind)
            if spans is not None and spans.overlap(start_ns, end_ns):
                return ReasonCode.LOST_SAMPLES
        return None
