from builders.records import pack, perf_sample, round_event

from qtapture.reassembly import merge as module
from qtapture.reassembly.merge import Merge
from qtapture.source import Slice


def exit_at(time_ns, cpu=0):
    raw = pack("qt_exit", head__type=4, head__length=56, head__time_ns=time_ns)
    return Slice(0, cpu, perf_sample(raw))


def times(records, late=None):
    merge = Merge(late)
    return [item.time_ns for item in merge.iter_items(records)], merge


def test_cpus_are_merged_by_time():
    records = [exit_at(3), exit_at(9), exit_at(2, cpu=1), exit_at(5, cpu=1)]
    assert times(records)[0] == [2, 3, 5, 9]


def test_one_round_of_slack_is_given():
    # Each round's clock is read before the heads: 12 is older than 20 and comes after it.
    records = [exit_at(5), round_event(10), exit_at(25, cpu=1), round_event(20), exit_at(12)]
    records += [round_event(30)]
    found, merge = times(records)
    assert found == [5, 12, 25]
    assert merge.late.count == 0


def test_a_straggler_is_found_by_the_first_pass_and_placed_by_the_second():
    records = [exit_at(5), exit_at(15), round_event(10), round_event(20), round_event(30)]
    records += [exit_at(7)]
    found, merge = times(records)
    assert found == [5, 15, 7]
    assert merge.late.count == 1
    again, second = times(records, merge.late)
    assert again == [5, 7, 15]
    assert second.late.count == 0


def test_without_rounds_memory_is_bounded_all_the_same(monkeypatch):
    monkeypatch.setattr(module, "MOST_HELD_BYTES", 2_000)
    found, merge = times([exit_at(n) for n in range(100)])
    assert found == list(range(100))
    assert merge.late.count == 0


def test_stragglers_past_the_limit_are_counted_and_not_kept(monkeypatch):
    monkeypatch.setattr(module, "MOST_LATE", 2)
    records = [exit_at(50), round_event(60), round_event(70), *(exit_at(n) for n in range(5))]
    _, merge = times([*records[:3], round_event(80), *records[3:]])
    assert merge.late.count == 5
    assert len(merge.late.kept) == 2


def test_samples_are_numbered_in_the_order_of_the_file():
    merge = Merge()
    items = list(merge.iter_items([exit_at(9), exit_at(2)]))
    assert [(item.time_ns, item.number) for item in items] == [(2, 2), (9, 1)]
