"""Times in HAR: exact sums, nothing negative, connecting told once."""

import pytest
from builders.hars import only, written
from builders.traffic import MS, START_NS, connection, exchange, request, response

AT = START_NS


def asked(first_ms, last_ms):
    return request(first_ns=AT + first_ms * MS, last_ns=AT + last_ms * MS)


def answered(first_ms, last_ms):
    return response(first_ns=AT + first_ms * MS, last_ns=AT + last_ms * MS)


def entry_of(folder, *, asked=None, answered=None, **over):
    return only(written(folder, exchange(2, request=asked, response=answered, **over)))


def phases(entry):
    return tuple(entry["timings"][name] for name in ("send", "wait", "receive"))


def test_times_are_the_exact_sum_and_only_the_first_exchange_connects(tmp_path):
    where = connection(connect_ns=START_NS, established_ns=START_NS + 7 * MS)
    first = exchange(1, where, request=request(), response=response())
    second = exchange(
        2,
        where,
        request=request(first_ns=START_NS + 50 * MS),
        response=response(first_ns=START_NS + 55 * MS),
    )
    entries = written(tmp_path, first, second)["log"]["entries"]
    assert entries[0]["timings"]["connect"] == 7
    assert entries[0]["timings"]["wait"] == 19
    assert entries[1]["timings"]["connect"] == -1
    assert entries[1]["time"] == 1 + 4 + 1


@pytest.mark.parametrize(
    ("request_ms", "response_ms", "expected", "overlap"),
    [
        ((0, 4), (10, 30), (4, 6, 20), None),
        ((0, 0), (0, 0), (0, 0, 0), None),
        ((0, 20), (5, 6), (5, 0, 1), 15),
        ((0, 20), (5, 40), (5, 0, 35), 15),
        ((10, 20), (5, 40), (0, 0, 35), 10),  # the answer came before the question
        ((10, 12), (2, 5), (0, 0, 3), 2),
        ((20, 10), (30, 25), (0, 10, 0), None),  # of a damaged session: ends before beginnings
    ],
)
def test_phases_are_clipped_at_the_first_byte_of_the_answer_and_never_negative(
    tmp_path, request_ms, response_ms, expected, overlap
):
    entry = entry_of(tmp_path, asked=asked(*request_ms), answered=answered(*response_ms))
    assert phases(entry) == expected
    assert entry["time"] == sum(expected)
    assert entry["_qtapture"].get("overlap_ms") == overlap


def test_without_an_answer_there_is_only_sending(tmp_path):
    entry = entry_of(tmp_path, asked=asked(0, 3))
    assert phases(entry) == (3, 0, 0)
    assert entry["time"] == 3


def test_without_a_request_there_is_only_receiving(tmp_path):
    entry = entry_of(tmp_path, answered=answered(5, 9))
    assert phases(entry) == (0, 0, 4)
    assert entry["startedDateTime"] == "2025-11-24T16:00:00.005000Z"


def test_time_is_the_sum_in_floating_point_too(tmp_path):
    where = connection(connect_ns=AT, established_ns=AT + 100_001)
    moments = {
        "request": request(first_ns=AT + 300_000, last_ns=AT + 300_007),
        "response": response(first_ns=AT + 1_000_003, last_ns=AT + 9_999_999),
    }
    entry = only(written(tmp_path, exchange(1, where, **moments)))
    timings = entry["timings"]
    assert entry["time"] == sum(timings[p] for p in ("connect", "send", "wait", "receive"))
    assert timings["connect"] == 0.100001


def first(folder, **over):
    return only(
        written(folder, exchange(1, connection(**over), request=asked(10, 11), response=response()))
    )


def test_a_first_exchange_begins_with_its_connecting_and_says_what_lay_between(tmp_path):
    entry = first(tmp_path, connect_ns=AT + 2 * MS, established_ns=AT + 5 * MS)
    assert entry["startedDateTime"] == "2025-11-24T16:00:00.002000Z"
    assert entry["timings"]["connect"] == 3
    assert entry["_qtapture"]["setup_ms"] == 5
    assert entry["_qtapture"]["t_ns"]["connect"] == str(AT + 2 * MS)
    assert entry["_qtapture"]["t_ns"]["established"] == str(AT + 5 * MS)
    for unseen in ("blocked", "dns", "ssl"):
        assert entry["timings"][unseen] == -1


@pytest.mark.parametrize(
    "over",
    [
        {"connect_ns": None},
        {"established_ns": None},
        {"connect_ns": AT + 11 * MS, "established_ns": AT + 12 * MS},  # after the request
        {"connect_ns": AT + 2 * MS, "established_ns": AT + 1 * MS},
    ],
)
def test_connecting_that_was_not_seen_whole_is_not_told(tmp_path, over):
    entry = first(tmp_path, **over)
    assert entry["timings"]["connect"] == -1
    assert entry["startedDateTime"] == "2025-11-24T16:00:00.010000Z"
    assert "setup_ms" not in entry["_qtapture"]


def test_a_request_in_the_first_packet_ends_the_connecting(tmp_path):
    entry = first(tmp_path, connect_ns=AT + 9 * MS, established_ns=AT + 12 * MS)
    assert entry["timings"]["connect"] == 1
    assert "setup_ms" not in entry["_qtapture"]


def test_boot_times_are_exact_text(tmp_path):
    entry = entry_of(tmp_path, asked=request(first_ns=(1 << 60) + 1, last_ns=(1 << 60) + 3))
    moments = entry["_qtapture"]["t_ns"]
    assert moments["request_first"] == str((1 << 60) + 1)
    assert moments["request_last"] == str((1 << 60) + 3)
    assert moments["response_first"] is None


def test_a_wall_clock_set_back_meanwhile_does_not_disorder_entries(tmp_path):
    import json

    from builders.har_rules import violations
    from builders.traffic import feed, tables

    from qtapture.export import EXPORTS, ExportOptions
    from qtapture.timebase import Anchor, Clock

    anchors = [
        Anchor(boottime_ns=AT, monotonic_ns=AT, realtime_ns=10**18),
        Anchor(boottime_ns=AT + 50 * MS, monotonic_ns=AT + 50 * MS, realtime_ns=10**18 - 10**12),
    ]
    export = EXPORTS["har"].open(tmp_path / "out.har", Clock(anchors), ExportOptions())
    before, after = (exchange(n, request=asked(n * 40, n * 40)) for n in (1, 2))
    feed(export, tables(connection()), (), [before, after])
    har = json.loads((tmp_path / "out.har").read_bytes())
    assert violations(har) == []
    assert [entry["_qtapture"]["number"] for entry in har["log"]["entries"]] == [2, 1]
