"""Timelines: one object a line, in order of time, with the same keys for everybody."""

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from builders.traffic import (
    MS,
    SECOND,
    START_NS,
    Talk,
    clock,
    connection,
    exchange,
    exited,
    feed,
    merge,
    partial,
    process,
    request,
    response,
    started,
    tables,
    tls_connection,
)

from qtapture.events import Direction, Library, Loss, Reason, ReasonCode, TlsFacts, Verdict
from qtapture.export import EXPORTS, ExportOptions, spool
from qtapture.export.json_rows import json_line
from qtapture.export.timeline_keys import domain_of

SCHEMA = json.loads((Path(__file__).parents[2] / "formats" / "timeline.schema.json").read_text())


C2S, S2C = Direction.C2S, Direction.S2C


def written(folder: Path, items=(), exchanges=(), survey=None) -> list[dict]:
    """Write a timeline, hold each row to the schema, and give them back."""
    path = folder / "out.jsonl"
    export = EXPORTS["timeline"].open(path, clock(), ExportOptions(force=True))
    connections = {e.connection.number: e.connection for e in exchanges}
    feed(export, survey or tables(*connections.values()), items, exchanges)
    rows = [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]]
    for row in rows:
        jsonschema.validate(row, SCHEMA)
    times = [int(row["t_ns"]) for row in rows]
    assert times == sorted(times)
    return rows


def test_an_exchange_is_one_row_with_everything_to_search_by(tmp_path):
    where = tls_connection()
    (row,) = written(
        tmp_path,
        exchanges=[
            exchange(
                1,
                where,
                request=request("POST", "/orders?x=1", ("Host", "shop.example"), body=b"abc"),
                response=response(201, body=b"ok", reason="Created"),
            )
        ],
    )
    assert row["message"].startswith(
        "curl[4242] POST https://shop.example/orders?x=1 -> 201 2 B in"
    )
    assert row["timestamp_desc"] == "HTTP request sent"
    assert row["http.request.method"] == "POST"
    assert row["http.request.body.bytes"] == 3
    assert row["http.response.status_code"] == 201
    assert row["url.domain"] == "shop.example"
    assert row["destination.port"] == 443
    assert row["qt.conn"] == where.number
    assert row["qt.verdict"] == "complete"
    assert row["event.duration"] == 21 * MS


def test_times_are_the_same_moment_in_three_forms(tmp_path):
    (row,) = written(tmp_path, exchanges=[exchange(request=request(first_ns=START_NS + 1234))])
    assert row["datetime"].endswith("+00:00")
    assert int(row["t_ns"]) % SECOND == 1234
    assert row["timestamp"] == int(row["t_ns"]) // 1000


def test_rows_stand_where_things_began_not_where_they_ended(tmp_path):
    slow = exchange(1, request=request(first_ns=START_NS + MS), response=response())
    quick = exchange(2, request=request(first_ns=START_NS + 5 * MS))
    rows = written(tmp_path, exchanges=[quick, slow])
    assert [row["qt.exchange"] for row in rows] == [1, 2]


def test_connections_open_and_close_with_bytes_each_way(tmp_path):
    talk = Talk(connection(bytes_c2s=10, bytes_s2c=20)).open().close()
    opened, closed = written(tmp_path, talk.items, survey=tables(talk.connection))
    assert opened["event.action"] == "connection-opened"
    assert (closed["source.bytes"], closed["destination.bytes"]) == (10, 20)


def test_a_refused_connect_is_an_attempt_with_its_error(tmp_path):
    talk = Talk(connection(error="ECONNREFUSED", established_ns=None)).open()
    (row,) = written(tmp_path, talk.items, survey=tables(talk.connection))
    assert row["event.action"] == "connection-failed"
    assert row["error.code"] == "ECONNREFUSED"


def test_processes_begin_and_end(tmp_path):
    who = process(argv=("curl", "-v"), exit_code=7)
    rows = written(tmp_path, [started(who), exited(who)])
    assert rows[0]["process.command_line"] == "curl -v"
    assert rows[1]["process.exit_code"] == 7
    assert rows[1]["message"] == "curl[4242] exit: 7"


def test_a_loss_says_how_much_of_what(tmp_path):
    loss = Loss(kind="tls", samples=3, bytes=900, start_ns=START_NS, time_ns=START_NS + MS)
    (row,) = written(tmp_path, [loss])
    assert row["qt.loss"] == {"kind": "tls", "samples": 3, "skipped": 0, "bytes": 900}
    assert row["timestamp_desc"] == "Capture loss"


def test_gaps_are_one_row_for_a_connection_summed_by_direction_and_reason(tmp_path):
    talk = Talk(partial(connection(), Reason(code=ReasonCode.LOST_SAMPLES))).open()
    talk.gap(C2S, 5).server(b"x").gap(S2C, 10).gap(S2C, 20).gap(S2C, None)
    talk.gap(S2C, 7, ReasonCode.NO_BUFFER).close()
    rows = written(tmp_path, talk.items, survey=tables(talk.connection))
    (row,) = (row for row in rows if row["event.action"] == "bytes-missing")
    assert row["qt.gaps"] == [
        {"direction": "c2s", "reason": "lost_samples", "gaps": 1, "bytes": 5, "unknown": 0},
        {"direction": "s2c", "reason": "lost_samples", "gaps": 3, "bytes": 30, "unknown": 1},
        {"direction": "s2c", "reason": "no_buffer", "gaps": 1, "bytes": 7, "unknown": 0},
    ]
    assert "42 B and more missing in 5 gaps" in row["message"]
    assert row["event.duration"] == 5 * MS
    assert row["qt.verdict"] == "partial"
    assert row["qt.reasons"] == ["lost_samples"]
    assert [r["event.action"] for r in rows].index("bytes-missing") == 1


def test_gaps_of_a_connection_that_nobody_closed_are_told_too(tmp_path):
    talks = [Talk(connection(number)).open().gap(S2C, number) for number in (2, 1)]
    rows = written(tmp_path, merge(*talks), survey=tables(*(t.connection for t in talks)))
    missing = [row for row in rows if row["event.action"] == "bytes-missing"]
    assert [(row["qt.conn"], row["qt.gaps"][0]["bytes"]) for row in missing] == [(1, 1), (2, 2)]


def test_the_first_plaintext_of_a_connection_tells_of_its_tls(tmp_path):
    library = Library(number=1, path="/usr/lib/libssl.so.3", version="OpenSSL 3.0.11")
    tls = TlsFacts(
        library=library, joined_by="nested", version="TLS 1.3", cipher="TLS_AES_128_GCM_SHA256",
        alpn="http/1.1", server_name="example.com",
    )  # fmt: skip
    talk = Talk(tls_connection(tls=tls), first_record=7).open().client(b"a").server(b"b").close()
    rows = written(tmp_path, talk.items, survey=tables(talk.connection))
    (row,) = (row for row in rows if row["data_type"] == "qtapture:tls")
    assert row["timestamp_desc"] == "TLS plaintext first seen"
    assert row["message"].startswith("curl[4242] TLS 1.3 to example.com plaintext from here on")
    assert row["tls.version"] == "TLS 1.3"
    assert row["tls.cipher"] == "TLS_AES_128_GCM_SHA256"
    assert row["tls.next_protocol"] == "http/1.1"
    assert row["tls.client.server_name"] == "example.com"
    assert row["qt.library"] == "/usr/lib/libssl.so.3 OpenSSL 3.0.11"
    assert row["qt.attribution"] == "nested"
    assert row["qt.rec"] == 7


def test_tls_that_nothing_opened_is_a_row_with_its_reasons(tmp_path):
    reason = Reason(code=ReasonCode.NO_PROBE, detail="rustls")
    where = tls_connection(verdict=Verdict.OPAQUE, reasons=(reason, reason))
    talk = Talk(where, plaintext=False).open().client(b"\x16\x03\x01").close()
    rows = written(tmp_path, talk.items, survey=tables(where))
    (row,) = (row for row in rows if row["data_type"] == "qtapture:tls")
    assert row["timestamp_desc"] == "TLS without plaintext"
    assert row["qt.verdict"] == "opaque"
    assert row["qt.reasons"] == ["no_probe"]


def test_plain_connections_have_no_row_of_tls(tmp_path):
    talk = Talk(connection(), plaintext=False).open().client(b"GET / HTTP/1.1\r\n\r\n").close()
    rows = written(tmp_path, talk.items, survey=tables(talk.connection))
    assert [row["data_type"] for row in rows] == ["qtapture:net"] * 2


def test_both_ends_on_one_host_are_named(tmp_path):
    where = connection(client_process=process(), server_process=process(80, comm="nginx"))
    (row,) = written(tmp_path, exchanges=[exchange(1, where, request=request())])
    assert row["client.process.name"] == "curl"
    assert row["server.process.name"] == "nginx"
    assert row["network.direction"] == "internal"


def test_an_answer_alone_is_a_row_too(tmp_path):
    (row,) = written(tmp_path, exchanges=[exchange(response=response(404, reason="Not Found"))])
    assert row["timestamp_desc"] == "HTTP response received"
    assert "http.request.method" not in row


@pytest.mark.parametrize("nasty", ["\u2028", "\u2029", "\x7f", "\x9b", "\x1b[2J", "\n", "\x00"])
def test_nothing_in_a_row_ends_it_or_reaches_a_terminal(nasty):
    line = json_line({"message": f"a{nasty}b"})
    assert line.count(b"\n") == 1
    assert nasty.encode() not in line.rstrip(b"\n")
    assert json.loads(line)["message"] == f"a{nasty}b"


def test_keys_are_in_a_fixed_order_and_bytes_the_same_each_time(tmp_path):
    one = [exchange(request=request(), response=response())]
    written(tmp_path, exchanges=one)
    first = (tmp_path / "out.jsonl").read_bytes()
    written(tmp_path, exchanges=[exchange(request=request(), response=response())])
    assert (tmp_path / "out.jsonl").read_bytes() == first
    assert list(json.loads(first))[:4] == ["message", "datetime", "timestamp", "timestamp_desc"]


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "RUN_LINES", 1000)
    where = connection()
    path = tmp_path / "out.jsonl"
    export = EXPORTS["timeline"].open(path, clock(), ExportOptions())
    count = 10_000
    many = (  # the later ones complete first
        exchange(n, where, request=request(first_ns=START_NS + n * MS, first_record=n))
        for n in range(count, 0, -1)
    )
    tracemalloc.start()
    feed(export, tables(where), (), many)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    with path.open(encoding="utf-8", newline="\n") as lines:
        assert [json.loads(line)["qt.exchange"] for line in lines] == list(range(1, count + 1))


def test_rows_of_one_moment_are_in_order_of_their_samples(tmp_path):
    where = connection()
    many = [exchange(n, where, request=request(first_record=10 - n)) for n in (1, 2, 3)]
    assert [row["qt.rec"] for row in written(tmp_path, exchanges=many)] == [7, 8, 9]


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://example.com/", "example.com"),
        ("https://example.com:8443/a:b@c", "example.com"),
        ("https://user:secret@example.com:1/", "example.com"),
        ("http://[2001:db8::1]:80/", "2001:db8::1"),
        ("http://[2001:db8::1]/", "2001:db8::1"),
        ("http://example.com?x=http://other/", "example.com"),
        ("connect://example.com:443", "example.com"),
        ("http:///", None),
        (None, None),
    ],
)
def test_the_domain_is_the_host_alone(url, domain):
    assert domain_of(url) == domain


def test_what_was_in_no_order_has_no_negative_duration(tmp_path):
    where = connection(connect_ns=START_NS + 9 * SECOND, established_ns=None)
    early = exchange(1, where, request=request(), response=response(first_ns=START_NS))
    who = process(start_ns=START_NS + 9 * SECOND, exit_signal=9)
    rows = written(tmp_path, [*Talk(where).close().items, exited(who)], [early, exchange(2, where)])
    assert min(row.get("event.duration", 0) for row in rows) == 0
    assert any(row["message"] == "curl[4242] exit: signal 9" for row in rows)


def test_times_of_a_damaged_session_harm_nobody(tmp_path):
    loss = Loss(kind="tls", samples=2**64 - 1, bytes=2**64, start_ns=0, time_ns=2**64 - 1)
    (row,) = written(tmp_path, [loss])
    assert row["qt.loss"]["bytes"] == 2**64


def test_what_is_no_character_is_shown_in_letters(tmp_path):
    who = process(comm="a\udc80b", argv=("\udcff", "\u2028"))
    (row,) = written(tmp_path, [started(who)])
    assert row["process.name"] == "a\\udc80b"
    assert row["process.command_line"] == "\\udcff \u2028"


def test_every_row_has_what_timesketch_asks_for_and_its_own_clock(tmp_path):
    talk = Talk(tls_connection(), start_ns=START_NS + 123_456).open().client(b"x").close()
    rows = written(tmp_path, talk.items, survey=tables(talk.connection))
    for row in rows:
        moment = datetime.fromisoformat(row["datetime"])
        assert row["message"]
        assert row["timestamp_desc"]
        assert moment.utcoffset() == timedelta(0)
        since = moment - datetime.fromtimestamp(0, tz=UTC)
        assert since // timedelta(microseconds=1) == row["timestamp"]


def test_stdout_takes_it_too(capfdbinary):
    feed(EXPORTS["timeline"].open(None, clock(), ExportOptions()), tables(), [started(process())])
    (line,) = capfdbinary.readouterr().out.splitlines()
    assert json.loads(line)["event.action"] == "exec"


def test_abandoning_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "RUN_LINES", 1)
    export = EXPORTS["timeline"].open(tmp_path / "out.jsonl", clock(), ExportOptions())
    export.begin(tables())
    export.traffic(started(process()))
    export.abandon()
    assert list(tmp_path.iterdir()) == []


def test_several_talks_at_once_are_merged_by_time(tmp_path):
    a, b = Talk(connection(1)).open(), Talk(connection(2)).open()
    rows = written(tmp_path, merge(a, b), survey=tables(a.connection, b.connection))
    assert {row["qt.conn"] for row in rows} == {1, 2}
