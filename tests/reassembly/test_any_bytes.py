"""Whatever bytes a session holds, reading it ends and raises nothing."""

import struct

from builders.records import ListSource, pack, perf_lost, perf_sample, round_event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qtapture.events import Closed, Opened, Segment
from qtapture.reassembly import iter_traffic, survey
from qtapture.reassembly.layout import LAYOUTS
from qtapture.reassembly.samples import SampleType, decode
from qtapture.source import EventRecord, EventType, Hole, Slice

_STRUCT_OF = {
    SampleType.EXEC: "qt_exec",
    SampleType.EXEC_ARGS: "qt_exec_args",
    SampleType.FORK: "qt_fork",
    SampleType.EXIT: "qt_exit",
    SampleType.SOCK_STATE: "qt_sock_state",
    SampleType.SOCK_SEEN: "qt_sock_state",
    SampleType.SOCK_END: "qt_sock_state",
    SampleType.SOCK_DATA: "qt_sock_data",
    SampleType.TLS_DATA: "qt_tls_data",
    SampleType.TLS_JOIN: "qt_tls_join",
    SampleType.TLS_FREE: "qt_tls_free",
}
# Few values, so that samples meet: the same socket, the same process, near offsets and times.
_LIKELY = {
    "Q": st.sampled_from([0, 1, 2, 3, 100, 101, 16_384, 1 << 40, (1 << 64) - 1]),
    "I": st.sampled_from([0, 1, 2, 5, 64, 65, 20_000, (1 << 32) - 1]),
    "H": st.sampled_from([0, 1, 2, 10, 80, 443, 65_535]),
    "B": st.sampled_from([0, 1, 2, 3, 4, 7, 8, 9, 10, 255]),
    "i": st.sampled_from([0, 111, -1]),
}


@st.composite
def samples(draw):
    kind = draw(st.sampled_from(list(_STRUCT_OF)))
    layout = LAYOUTS[_STRUCT_OF[kind]]
    payload = draw(st.sampled_from([b"", b"abc", b"\x16\x03\x01\x00\x05hello", b"x" * 300]))
    values = {
        name.replace(".", "__"): draw(_LIKELY[code]) if code in _LIKELY else b"\x01\xff\0"
        for name, code in layout.fields
    }
    values["head__type"] = int(kind)
    values["head__length"] = layout.size + len(payload)
    return pack(layout.name, payload, **values)


def json_bodies():
    leaf = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats()
    names = st.sampled_from(
        ["pid", "start_ticks", "uid", "user", "cgroup", "argv", "state", "number", "late", "exe"]
    )
    import json

    return st.dictionaries(names, leaf | st.lists(leaf, max_size=3), max_size=6).map(
        lambda body: json.dumps(body).encode()
    )


def events():
    bodies = st.binary(max_size=70) | json_bodies()
    return st.builds(
        EventRecord,
        st.sampled_from([*EventType, 5, 99]),
        st.integers(0, 3),
        st.integers(0, 200),
        bodies,
    )


def slices():
    good = st.lists(samples(), max_size=6).map(lambda raws: b"".join(map(perf_sample, raws)))
    return st.builds(
        Slice, st.integers(0, 2), st.integers(0, 3), good | st.binary(max_size=80) | good.map(_cut)
    )


def _cut(data):
    return data[: len(data) * 2 // 3]


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(slices() | events() | st.just(Hole(1, 3, 100)), max_size=12))
def test_any_records_are_read_to_their_end(records):
    source = ListSource(records, {"boot_id": 5, "anchor": {"boottime_ns": "x"}})
    plan = survey(source)
    items = list(iter_traffic(source, plan))
    times = [item.time_ns for item in items]
    assert times == sorted(times)
    opened = [item.connection.number for item in items if isinstance(item, Opened)]
    closed = [item.connection.number for item in items if isinstance(item, Closed)]
    assert opened == [c.number for c in plan.tables.connections]
    assert sorted(closed) == sorted(opened)
    reached = {}
    for item in items:
        if isinstance(item, Segment):
            key = (item.connection.number, item.direction)
            assert item.offset >= reached.get(key, 0)
            assert len(item.data) <= 300
            reached[key] = item.offset + len(item.data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_sample_or_none(raw):
    decode(raw)


@settings(max_examples=200, deadline=None)
@given(samples(), st.integers(0, 300))
def test_a_cut_sample_is_none(raw, cut):
    assert decode(raw) is not None
    assert decode(raw[: max(len(raw) - 1 - cut, 0)]) is None


def test_marks_and_damage_of_a_slice_are_counted():
    head = pack("qt_exit", head__type=4, head__length=LAYOUTS["qt_exit"].size)
    data = perf_sample(head) + perf_lost(7) + perf_sample(b"short") + b"\xff" * 9
    plan = survey(ListSource([Slice(0, 0, data)]))
    assert plan.counts.samples == 1
    assert plan.counts.lost_marks == 7
    assert plan.counts.malformed == 2


def test_a_round_cut_short_is_counted_and_harmless():
    records = [round_event(5), EventRecord(EventType.ROUND, 1, 6, struct.pack("<I", 1))]
    assert survey(ListSource(records)).counts.malformed == 1
