"""Trace events: slices in lanes that nest, instants, names."""

import json
from pathlib import Path

from builders.node import run_node
from builders.traffic import (
    MS,
    START_NS,
    Talk,
    clock,
    connection,
    exchange,
    exited,
    feed,
    process,
    request,
    response,
    started,
    tables,
)

from qtapture.events import Loss
from qtapture.export import EXPORTS, ExportOptions


def written(folder: Path, items=(), exchanges=(), survey=None) -> dict:
    path = folder / "out.trace.json"
    export = EXPORTS["trace"].open(path, clock(), ExportOptions(force=True))
    connections = {e.connection.number: e.connection for e in exchanges}
    feed(export, survey or tables(*connections.values()), items, exchanges)
    trace = json.loads(path.read_bytes())
    hold_to_rules(trace["traceEvents"])
    return trace


def hold_to_rules(events: list[dict]) -> None:
    """What every viewer needs: known phases, names, data where it is kept, slices that nest."""
    lanes: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in events:
        assert event["ph"] in {"X", "i", "M"}
        assert isinstance(event["name"], str)
        if event["ph"] == "M":
            continue
        assert isinstance(event["args"]["data"], dict)
        assert event["ts"] >= 0
        if event["ph"] == "X":
            lane = lanes.setdefault((event["pid"], event["tid"]), [])
            lane.append((event["ts"], event["ts"] + event["dur"]))
    for spans in lanes.values():
        for a, b in spans:
            for c, d in spans:
                assert b <= c or d <= a or (a <= c and d <= b) or (c <= a and b <= d)


def slices(trace: dict) -> list[dict]:
    return [event for event in trace["traceEvents"] if event["ph"] == "X"]


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
    instants = [event["name"] for event in trace["traceEvents"] if event["ph"] == "i"]
    assert instants == ["exec curl", "closed", "lost tls", "exit curl"]


def test_the_absolute_beginning_stands_beside_for_doubles_have_no_room(tmp_path):
    trace = written(tmp_path)
    assert int(trace["otherData"]["t0_ns"]) > 1 << 53


def test_the_engine_of_the_performance_panel_loads_it(tmp_path):
    talk = Talk(connection(connect_ns=START_NS, established_ns=START_NS + MS)).open()
    trace = written(
        tmp_path,
        [started(process()), *talk.items],
        [exchange(1, talk.connection, request=request(), response=response())],
        survey=tables(talk.connection),
    )
    found = run_node("trace_load.mjs", tmp_path / "out.trace.json")
    assert found["events"] == len(trace["traceEvents"])
    (lane,) = found["lanes"]
    assert lane["name"] == "conn 1 93.184.216.34:443 #1"
    assert lane["entries"] == ["connect", "GET http://example.com/", "send", "wait", "receive"]


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
