"""Bytes of rings: what they hold is decoded and reassembled, nothing raises."""

from builders.records import ListSource

from qtapture.events import Segment
from qtapture.reassembly import iter_traffic, survey
from qtapture.reassembly.perf import iter_perf
from qtapture.reassembly.samples import decode, sample_kind, sample_time
from qtapture.source import Slice

__all__ = ["check"]


def check(data: bytes) -> None:
    """These bytes are a slice of a ring."""
    for raw in iter_perf(data):
        if isinstance(raw, bytes):
            sample = decode(raw)
            assert sample is None or sample.head.time_ns == sample_time(raw)
            assert sample is None or sample.head.kind == sample_kind(raw)
    source = ListSource([Slice(ring, 0, data) for ring in (0, 1)], {})
    items = list(iter_traffic(source, survey(source)))
    times = [item.time_ns for item in items]
    assert times == sorted(times)
    said = sum(len(item.data) for item in items if isinstance(item, Segment))
    assert said <= 2 * len(data)
