"""Counters in a trace: payload a second of each process, and samples lost so far."""

from qtapture.events import Direction, Loss, Segment, Side
from qtapture.export.trace_events import EventWriter

__all__ = ["Counters"]

_PER_SECOND = 10
_BUCKET_NS = 1_000_000_000 // _PER_SECOND
_SENT, _RECEIVED = 0, 1


class Counters:
    """Sums up what is seen in a tenth of a second, and writes what was not zero."""

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer
        self._start_ns = 0
        self._bucket = self._last = 0  # being summed up; written last
        self._sums: dict[int, list[int]] = {}  # pid: sent, received in this bucket
        self._shown: set[int] = set()  # pids whose counter is not at zero
        self._lost: dict[str, int] = {}

    def begin(self, start_ns: int) -> None:
        """Learn when the session began."""
        self._start_ns = start_ns

    def segment(self, segment: Segment) -> None:
        """Count payload for the process that made the call."""
        bucket = (segment.time_ns - self._start_ns) // _BUCKET_NS
        if bucket != self._bucket:
            self._flush()
            self._bucket = bucket
        pid = segment.process.pid if segment.process else 0
        is_client = segment.connection.side is Side.CLIENT
        way = _SENT if (segment.direction is Direction.C2S) == is_client else _RECEIVED
        self._sums.setdefault(pid, [0, 0])[way] += len(segment.data)

    def loss(self, loss: Loss) -> None:
        """Count what was lost, by kind, over the whole session."""
        self._lost[loss.kind] = self._lost.get(loss.kind, 0) + loss.samples + loss.skipped
        self._writer.counter("lost samples", 0, loss.time_ns, dict(sorted(self._lost.items())))

    def finish(self) -> None:
        """Write what is not written yet, and put all at zero."""
        self._flush()
        self._zero(self._shown)

    def _flush(self) -> None:
        if not self._sums:
            return
        follows = self._bucket == self._last + 1
        self._zero(self._shown - set(self._sums) if follows else self._shown)
        for pid in sorted(self._sums):
            sent, received = (size * _PER_SECOND for size in self._sums[pid])
            self._write(pid, self._bucket, sent, received)
        self._last = self._bucket
        self._shown = set(self._sums)
        self._sums.clear()

    def _zero(self, pids: set[int]) -> None:
        for pid in sorted(pids):
            self._write(pid, self._last + 1, 0, 0)

    def _write(self, pid: int, bucket: int, sent: int, received: int) -> None:
        time_ns = self._start_ns + bucket * _BUCKET_NS
        self._writer.counter("bytes/s", pid, time_ns, {"sent": sent, "received": received})
