"""Lines are sorted on disk: by both keys, then by arrival, in bounded memory."""

import random
import tracemalloc

import pytest

from qtapture.export import spool
from qtapture.export.spool import SortedSpool


def lines(sorter: SortedSpool) -> list[bytes]:
    return [b"".join(pieces) for pieces in sorter.iter_lines()]


@pytest.mark.parametrize("run", [1, 2, 7, 1000])
def test_any_number_of_runs_gives_the_same_order(monkeypatch, run):
    monkeypatch.setattr(spool, "RUN_LINES", run)
    chance = random.Random(run)
    keys = [(chance.randrange(9), chance.randrange(3)) for _ in range(200)]
    sorter = SortedSpool()
    for number, (first, second) in enumerate(keys):
        sorter.add(first, second, b"%d %d %d\n" % (first, second, number))
    wanted = sorted((first, second, number) for number, (first, second) in enumerate(keys))
    assert lines(sorter) == [b"%d %d %d\n" % each for each in wanted]
    assert lines(sorter) == [b"%d %d %d\n" % each for each in wanted]
    sorter.close()


def test_times_of_a_damaged_session_are_sorted_too():
    sorter = SortedSpool()
    times = [2**66, -(2**66), 0, 2**64 - 1, -1]
    for time in times:
        sorter.add(time, 2**64 - 1, b"%d" % time)
    assert lines(sorter) == [b"%d" % time for time in sorted(times)]
    sorter.close()


def test_long_and_empty_lines_come_back_whole(monkeypatch):
    monkeypatch.setattr(spool, "_PIECE", 10)
    sorter = SortedSpool()
    sorter.add(2, 0, b"x" * 95)
    sorter.add(1, 0, b"")
    assert lines(sorter) == [b"", b"x" * 95]
    sorter.close()


def test_memory_is_that_of_one_run(monkeypatch):
    monkeypatch.setattr(spool, "RUN_LINES", 1000)
    sorter = SortedSpool()
    tracemalloc.start()
    for number in range(50_000):
        sorter.add(-number, 0, b"a line of some length\n")
    last = None
    for pieces in sorter.iter_lines():
        last = b"".join(pieces)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sorter.close()
    assert last == b"a line of some length\n"
    assert peak < 1 << 20


def test_closing_twice_is_harmless():
    sorter = SortedSpool()
    sorter.close()
    sorter.close()
