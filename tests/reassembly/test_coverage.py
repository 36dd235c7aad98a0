from hypothesis import given
from hypothesis import strategies as st

from qtapture.events import ReasonCode
from qtapture.reassembly import coverage as module
from qtapture.reassembly.coverage import Coverage, Stretch

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=20)


@given(SPANS, st.integers(0, 90))
def test_holes_are_what_no_span_holds(spans, end):
    coverage = Coverage()
    held = set()
    for start, length in spans:
        coverage.add(start, start + length, 0)
        held.update(range(start, start + length))
    missing = {
        offset for hole in coverage.iter_holes(0, end) for offset in range(hole.start, hole.end)
    }
    assert missing == set(range(end)) - held
    assert coverage.end == max(held, default=-1) + 1
    # no span touches another
    pairs = zip(coverage.ends, coverage.starts[1:], strict=False)
    assert all(last < first for last, first in pairs)


def test_a_hole_of_the_file_has_its_own_reason():
    coverage = Coverage()
    coverage.add(0, 10, 0)
    coverage.add(20, 30, 0)
    coverage.add(40, 50, 1)
    assert list(coverage.iter_holes(0, 50)) == [
        Stretch(10, 20, ReasonCode.LOST_SAMPLES),
        Stretch(30, 40, ReasonCode.DAMAGED_SESSION),
    ]


def test_memory_is_bounded_by_forgetting_the_oldest_hole(monkeypatch):
    monkeypatch.setattr(module, "MOST_SPANS", 3)
    coverage = Coverage()
    for start in range(0, 100, 10):
        coverage.add(start, start + 4, 0)
    assert len(coverage.starts) == 3
    assert coverage.forgotten == 7 * 6
    assert coverage.end == 94
