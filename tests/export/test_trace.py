"""Trace events: slices in lanes that nest, instants, names."""

import json
import tracemalloc
import unicodedata
from pathlib import Path

import pytest
from builders.node import run_node
from builders.traffic import (
    EPOCH_NS,
    MS,
    NGINX,
    SECOND,
    START_NS,
    Talk,
    clock,
    connection,
    exchange,
    exited,
    feed,
    merge,
    process,
    request,
    response,
    started,
    tables,
    tls_connection,
)

from qtapture.events import Direction, Loss, Side
from qtapture.export import EXPORTS, ExportOptions, trace_processes
from qtapture.timebase import Anchor, Clock


def written(folder: Path, items=(), exchanges=(), survey=None) -> dict:
    path = folder / "out.trace.json"
    export = EXPORTS["trace"].open(path, clock(), ExportOptions(force=True))
    connections = {e.connection.number: e.connection for e in exchanges}
    feed(export, survey or tables(*connections.values()), items, exchanges)
    trace = json.loads(path.read_bytes())
    hold_to_rules(trace["traceEvents"])
    return trace


def hold_to_rules(events: list[dict]) -> None:
    """What every viewer needs: names, data where it is kept, slices that nest, arrows that bind."""
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    for event in events:
        assert event["ph"] in {"X", "i", "M", "C", "s", "f"}
        assert isinstance(event["name"], str)
        assert event["ts"] >= 0
        match event["ph"]:
            case "X" | "i":
                assert isinstance(event["args"]["data"], dict)
                is_lane = event["tid"] != event["pid"]
                assert not is_lane or (event["pid"], event["tid"]) in named
                assert event.get("s", "") in ("t" if is_lane else "p", "")
            case "C":
                assert all(isinstance(value, int) for value in event["args"].values())
    assert len(named) == len({tid for _, tid in named}), "viewers take a tid for one thread"
    nest(events)
    bind(events)


def nest(events: list[dict]) -> None:
    """Slices of one track begin and end like brackets."""
    tracks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for event in (event for event in events if event["ph"] == "X"):
        begin = round(event["ts"] * 1000)
        span = (begin, -(begin + round(event["dur"] * 1000)))
        tracks.setdefault((event["pid"], event["tid"]), []).append(span)
    for spans in tracks.values():
        open_until: list[int] = []
        for begin, end in sorted(spans):
            while open_until and open_until[-1] <= begin:
                open_until.pop()
            assert not open_until or -end <= open_until[-1]
            open_until.append(-end)


def bind(events: list[dict]) -> None:
    """Arrows go forward; DevTools wants an event at both ends, Perfetto a slice around them."""
    begins = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "f"}
    assert begins.keys() == ends.keys()
    for number, begin in begins.items():
        assert begin["ts"] < ends[number]["ts"]
        assert ends[number]["bp"] == "e"
        for arrow in (begin, ends[number]):
            same = [e for e in events if (e["pid"], e["tid"]) == (arrow["pid"], arrow["tid"])]
            assert any(e["ph"] in "Xi" and e["ts"] == arrow["ts"] for e in same)
            assert any(
                e["ph"] == "X" and e["ts"] <= arrow["ts"] <= e["ts"] + e["dur"] for e in same
            )


def slices(trace: dict) -> list[dict]:
    """Those in lanes."""
    return [e for e in trace["traceEvents"] if e["ph"] == "X" and e["tid"] != e["pid"]]


def named(trace: dict, phase: str) -> list[str]:
    return [event["name"] for event in trace["traceEvents"] if event["ph"] == phase]


def test_an_exchange_is_a_slice_with_its_phases_inside(tmp_path):
    trace = written(
        tmp_path, exchanges=[exchange(request=request("GET", "/a"), response=response())]
    )
    parent, *phases = slices(trace)
    assert parent["name"] == "GET http://example.com/a"
    assert (parent["ts"], parent["dur"]) == (10_000, 21_000)
    assert [(p["name"], p["dur"]) for p in phases] == [
        ("send", 1000),
        ("wait", 19_000),
        ("receive", 1000),
    ]
    assert parent["args"]["data"]["http.response.status_code"] == 200


def test_exchanges_that_overlap_on_one_connection_have_lanes_of_their_own(tmp_path):
    where = connection()
    pair = [
        exchange(n, where, request=request(first_ns=START_NS + n * MS), response=response())
        for n in (1, 2)
    ]
    trace = written(tmp_path, exchanges=pair)
    tops = [event for event in slices(trace) if event["name"].startswith("GET")]
    assert tops[0]["tid"] != tops[1]["tid"]
    names = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"]
    assert names == ["conn 1 93.184.216.34:443 #1", "conn 1 93.184.216.34:443 #2"]


def test_exchanges_one_after_another_share_a_lane(tmp_path):
    where = connection()
    pair = [
        exchange(
            n,
            where,
            request=request(first_ns=START_NS + n * 100 * MS),
            response=response(first_ns=START_NS + n * 100 * MS + 5 * MS),
        )
        for n in (1, 2)
    ]
    assert len({event["tid"] for event in slices(written(tmp_path, exchanges=pair))}) == 1


def test_connects_processes_and_losses_are_there(tmp_path):
    talk = Talk(connection(connect_ns=START_NS, established_ns=START_NS + MS)).open().close()
    loss = Loss(kind="tls", samples=3, bytes=900, start_ns=START_NS, time_ns=START_NS + MS)
    items = [started(process()), *talk.items, loss, exited(process())]
    trace = written(tmp_path, items, survey=tables(talk.connection))
    assert [event["name"] for event in slices(trace)] == ["connect"]
    assert named(trace, "i") == ["exec curl", "closed", "samples lost", "exit curl"]


def test_a_refused_connect_is_a_slice_with_its_error(tmp_path):
    where = connection(error="ECONNREFUSED", established_ns=None, closed_ns=START_NS + 2 * MS)
    trace = written(tmp_path, Talk(where).open().close().items, survey=tables(where))
    (attempt,) = slices(trace)
    assert (attempt["name"], attempt["dur"]) == ("connect failed", 2000)
    assert attempt["args"]["data"]["error.code"] == "ECONNREFUSED"


def test_a_process_is_a_slice_as_long_as_it_lived(tmp_path):
    old = process(7, "sh", start_ns=START_NS - SECOND, exit_ns=START_NS + 3 * MS, exit_code=2)
    again = process(7, "ls", start_ns=START_NS + MS, entity_id="b" * 40, exit_ns=None)
    trace = written(tmp_path, survey=tables(processes=(old, again)))
    lives = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert [(e["name"], e["ts"], e["ts"] + e["dur"]) for e in lives] == [
        ("sh[7]", 0, 3000),
        ("ls[7]", 3000, 10_000_000),
    ]
    assert lives[0]["args"]["data"]["process.exit_code"] == 2
    names = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert names == ["qtapture", "sh[7], ls[7]"]


def test_an_arrow_leads_from_a_fork_to_what_the_child_executed(tmp_path):
    parent = process(10, "sh")
    child = process(11, "sh", parent_entity_id=parent.entity_id, start_ns=START_NS + MS)
    program = process(11, "curl", parent_entity_id=parent.entity_id, start_ns=START_NS + MS)
    stranger = process(12, "sh", parent_entity_id="c" * 40)
    items = [
        started(child, START_NS + MS, "fork"),
        started(stranger, START_NS + MS, "fork"),
        started(program, START_NS + 2 * MS, "exec"),
        started(stranger, START_NS + 3 * MS, "exec"),
        started(program, START_NS + 4 * MS, "exec"),
    ]
    trace = written(tmp_path, items, survey=tables(processes=(parent, program, stranger)))
    arrows = [event for event in trace["traceEvents"] if event["ph"] in "sf"]
    assert [(e["ph"], e["id"], e["pid"], e["ts"]) for e in arrows] == [
        ("s", 1, 10, 1000),
        ("f", 1, 11, 2000),
    ]


def test_arrows_end_at_their_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_processes, "MOST_ARROWS", 3)
    parent = process(10, "sh")
    items, everybody = [], [parent]
    for pid in range(11, 20):
        child = process(pid, "sh", parent_entity_id=parent.entity_id, start_ns=START_NS + MS)
        everybody.append(child)
        items += [started(child, START_NS + pid * MS, "fork")]
        items += [started(child, START_NS + pid * MS + 1, "exec")]
    trace = written(tmp_path, items, survey=tables(processes=tuple(everybody)))
    assert named(trace, "s") == ["started"] * 3


def test_payload_is_counted_for_each_process_and_falls_back_to_zero(tmp_path):
    a = Talk(connection(1), step_ns=50 * MS).client(b"x" * 10).server(b"y" * 100)
    b = Talk(connection(2, owner=NGINX, side=Side.SERVER), start_ns=START_NS + 450 * MS)
    b.client(b"z" * 7)
    survey = tables(a.connection, b.connection)
    trace = written(tmp_path, merge(a, b), survey=survey)
    counts = [event for event in trace["traceEvents"] if event["ph"] == "C"]
    assert [(e["pid"], e["ts"], e["args"]["sent"], e["args"]["received"]) for e in counts] == [
        (4242, 0, 100, 0),
        (4242, 100_000, 0, 1000),
        (4242, 200_000, 0, 0),
        (80, 400_000, 0, 70),
        (80, 500_000, 0, 0),
    ]


def test_losses_are_counted_by_kind_over_the_session(tmp_path):
    losses = [
        Loss(kind=kind, samples=n, bytes=0, start_ns=START_NS, time_ns=START_NS + n, skipped=1)
        for kind, n in (("tls", 1), ("socket", 2), ("tls", 3))
    ]
    trace = written(tmp_path, losses)
    counts = [event["args"] for event in trace["traceEvents"] if event["ph"] == "C"]
    assert counts == [{"tls": 2}, {"socket": 3, "tls": 2}, {"socket": 3, "tls": 6}]


def test_each_process_on_a_connection_has_a_lane_of_its_own(tmp_path):
    where = tls_connection()
    pair = [
        exchange(n, where, request=request(first_ns=START_NS + n * SECOND), process=who)
        for n, who in ((1, process(1)), (2, process(2)))
    ]
    trace = written(tmp_path, exchanges=pair)
    tops = [event for event in slices(trace) if event["name"].startswith("GET")]
    assert [event["pid"] for event in tops] == [1, 2]
    assert tops[0]["tid"] != tops[1]["tid"]
    names = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"]
    assert names == ["conn 1 example.com:443 #1"] * 2


def test_no_lane_has_the_number_of_a_thread(tmp_path):
    most = 1 << 22  # PID_MAX_LIMIT
    trace = written(tmp_path, exchanges=[exchange(request=request())])
    assert all(most < event["tid"] < 1 << 31 for event in slices(trace))


def test_tls_gaps_and_ends_are_instants_in_the_lane(tmp_path):
    talk = Talk(tls_connection()).open().client(b"a").gap(Direction.S2C, 5).close()
    trace = written(tmp_path, talk.items, survey=tables(talk.connection))
    assert named(trace, "i") == ["TLS plaintext", "bytes missing", "closed"]
    instants = [event for event in trace["traceEvents"] if event["ph"] == "i"]
    assert {(e["tid"], e["s"]) for e in instants} == {(slices(trace)[0]["tid"], "t")}
    assert instants[1]["args"]["data"]["qt.gaps"][0]["bytes"] == 5


def test_times_are_boot_time_whatever_the_wall_clock_did(tmp_path):
    path = tmp_path / "out.json"
    stepped = Clock(
        [
            Anchor(boottime_ns=START_NS + n * MS, monotonic_ns=0, realtime_ns=real)
            for n, real in ((0, EPOCH_NS), (5, EPOCH_NS - SECOND))
        ]
    )
    export = EXPORTS["trace"].open(path, stepped, ExportOptions())
    feed(export, tables(), [exited(process(), START_NS + 7 * MS)])
    (event,) = (e for e in json.loads(path.read_bytes())["traceEvents"] if e["ph"] == "i")
    assert event["ts"] == 7000


def test_phases_stay_inside_whatever_the_order_of_messages(tmp_path):
    early = exchange(  # the answer came before the request was sent, and while it was
        1,
        request=request(first_ns=START_NS + 10 * MS, last_ns=START_NS + 30 * MS),
        response=response(first_ns=START_NS + 5 * MS, last_ns=START_NS + 20 * MS),
    )
    (parent, receive) = slices(written(tmp_path, exchanges=[early]))
    assert (parent["ts"], parent["dur"]) == (10_000, 20_000)
    assert (receive["name"], receive["ts"], receive["dur"]) == ("receive", 10_000, 10_000)


def test_an_exchange_without_any_message_harms_nobody(tmp_path):
    assert len(slices(written(tmp_path, exchanges=[exchange(1)]))) == 1


@pytest.mark.parametrize(
    "nasty", ["\u2028", "\x7f", "\x9b", "\x1b[2J", "\n", "\x00", "\udc80", '"']
)
def test_no_character_of_strangers_reaches_a_terminal(tmp_path, nasty):
    who = process(comm=f"a{nasty}b", argv=(nasty,))
    where = connection(owner=who)
    survey = tables(where, facts={"host": nasty, "argv": nasty})
    path = tmp_path / "out.trace.json"
    trace = written(tmp_path, [started(who)], [exchange(1, where, request=request())], survey)
    raw_text = path.read_bytes().decode("utf-8")
    assert not [c for c in raw_text.replace("\n", "") if unicodedata.category(c) in ("Cc", "Zl")]
    assert len(raw_text.splitlines()) == len(trace["traceEvents"]) + 2
    if nasty != "\udc80":
        assert f"exec a{nasty}b" in named(trace, "i")


def test_memory_does_not_grow_with_the_number_of_exchanges(tmp_path):
    where = connection()
    path = tmp_path / "out.json"
    export = EXPORTS["trace"].open(path, clock(), ExportOptions())
    many = (
        exchange(
            n,
            where,
            request=request(first_ns=START_NS + n * 100 * MS),
            response=response(first_ns=START_NS + n * 100 * MS + MS),
        )
        for n in range(1, 10_001)
    )
    tracemalloc.start()
    feed(export, tables(where), (), many)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    events = json.loads(path.read_bytes())["traceEvents"]
    assert len([e for e in events if e["name"].startswith("GET")]) == 10_000
    nest(events)


def test_the_absolute_beginning_stands_beside_for_doubles_have_no_room(tmp_path):
    trace = written(tmp_path)
    assert int(trace["otherData"]["t0_ns"]) > 1 << 53


def test_the_engine_of_the_performance_panel_loads_it(tmp_path):
    parent = process(10, "sh")
    forked = process(11, "sh", parent_entity_id=parent.entity_id, start_ns=START_NS)
    curl = process(11, "curl", parent_entity_id=parent.entity_id, start_ns=START_NS)
    where = connection(connect_ns=START_NS + 3 * MS, established_ns=START_NS + 4 * MS, owner=curl)
    talk = Talk(where, start_ns=START_NS + 3 * MS).open().client(b"GET / HTTP/1.1").lost(1)
    trace = written(
        tmp_path,
        [started(forked, START_NS + MS, "fork"), started(curl, START_NS + 2 * MS), *talk.items],
        [exchange(1, where, request=request(), response=response(), process=curl)],
        survey=tables(where, processes=(parent, curl)),
    )
    assert set("XiMCsf") == {event["ph"] for event in trace["traceEvents"]}
    found = run_node("trace_load.mjs", tmp_path / "out.trace.json")
    assert found["events"] == len(trace["traceEvents"])
    assert [(lane["name"], lane["entries"]) for lane in found["lanes"]] == [
        (None, ["sh[10]"]),
        (None, ["curl[11]"]),
        (
            "conn 1 93.184.216.34:443 #1",
            ["connect", "GET http://example.com/", "send", "wait", "receive"],
        ),
    ]
    assert found["flows"] == [["fork sh", "exec curl"]]


def test_the_same_session_gives_the_same_bytes(tmp_path):
    written(tmp_path, exchanges=[exchange(request=request(), response=response())])
    first = (tmp_path / "out.trace.json").read_bytes()
    written(tmp_path, exchanges=[exchange(request=request(), response=response())])
    assert (tmp_path / "out.trace.json").read_bytes() == first


def test_abandoning_leaves_nothing(tmp_path):
    export = EXPORTS["trace"].open(tmp_path / "out.json", clock(), ExportOptions())
    export.begin(tables())
    export.abandon()
    assert list(tmp_path.iterdir()) == []
