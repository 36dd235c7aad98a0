"""HAR: what was said, in the form that every viewer takes, and what HAR has no word for."""

import json
import tracemalloc
from dataclasses import replace

import pytest
from builders.hars import only, written
from builders.traffic import (
    CURL,
    MS,
    NGINX,
    START_NS,
    MemoryBody,
    Talk,
    clock,
    connection,
    exchange,
    feed,
    headers,
    partial,
    process,
    request,
    response,
    tables,
    tls_connection,
)

from qtapture.events import (
    Anomaly,
    Direction,
    EndpointView,
    Loss,
    Reason,
    ReasonCode,
    Side,
    Verdict,
)
from qtapture.export import EXPORTS, ExportOptions


def test_an_exchange_is_an_entry_as_every_viewer_knows_it(tmp_path):
    entry = only(
        written(tmp_path, exchange(request=request("GET", "/a?x=1"), response=response(body=b"hi")))
    )
    assert entry["request"]["url"] == "http://example.com/a?x=1"
    assert entry["request"]["queryString"] == [{"name": "x", "value": "1"}]
    assert entry["response"]["status"] == 200
    assert entry["response"]["content"] == {
        "size": 2,
        "compression": 0,
        "mimeType": "text/plain",
        "text": "hi",
    }
    assert entry["serverIPAddress"] == "93.184.216.34"
    assert entry["connection"] == "443"
    assert entry["_qtapture"]["process"]["comm"] == "curl"
    assert entry["_qtapture"]["complete"] is True


def test_headers_keep_their_order_case_and_duplicates(tmp_path):
    pairs = (("Host", "a"), ("x-B", "2"), ("X-a", "1"), ("x-B", "3"))
    entry = only(written(tmp_path, exchange(request=request("GET", "/", *pairs))))
    assert [(h["name"], h["value"]) for h in entry["request"]["headers"]] == list(pairs)


@pytest.mark.parametrize(
    ("where", "address", "port"),
    [
        ({"server": "[2001:db8::1]:443"}, "2001:db8::1", "443"),
        ({"server": "[fe80::1%eth0]:80"}, "fe80::1", "80"),
        ({"server": "[::ffff:10.0.0.1]:80"}, "::ffff:10.0.0.1", "80"),
        ({"server": "10.0.0.1:0"}, "10.0.0.1", None),
        ({"server": "/run/a.sock:0"}, None, None),
        ({"server": None}, None, None),
    ],
)
def test_the_server_is_a_plain_address_and_a_port_as_far_as_known(tmp_path, where, address, port):
    entry = only(written(tmp_path, exchange(on=connection(7, **where), request=request())))
    assert entry.get("serverIPAddress") == address
    assert entry.get("connection") == port
    assert entry["_connectionId"] == "7"


def test_a_request_without_an_answer_has_status_0_and_an_error(tmp_path):
    entry = only(written(tmp_path, exchange(request=request(), error="no_response")))
    assert entry["response"]["status"] == 0
    assert entry["response"]["_error"] == "no_response"
    assert entry["_qtapture"]["incomplete"] == {"response": "no_response"}


def test_an_answer_without_a_request_is_shown_too(tmp_path):
    entry = only(written(tmp_path, exchange(response=response())))
    assert entry["request"]["method"] == "unknown"
    assert entry["_qtapture"]["incomplete"] == {"request": "not_seen"}


def test_messages_that_are_not_whole_say_why(tmp_path):
    entry = only(
        written(
            tmp_path,
            exchange(
                request=request(complete=False, incomplete_reason="gap"),
                response=response(body=b"half", complete=False, incomplete_reason="cut"),
            ),
        )
    )
    assert entry["_qtapture"]["complete"] is False
    assert entry["_qtapture"]["incomplete"] == {"request": "gap", "response": "cut"}
    assert entry["response"]["_error"] == "cut"
    assert entry["response"]["content"]["text"] == "half"


def test_what_har_has_no_word_for_is_kept_beside(tmp_path):
    early = response(103, reason="Early Hints", headers=headers(("Link", "</a.css>")))
    entry = only(
        written(
            tmp_path,
            exchange(
                request=request(
                    anomalies=(Anomaly(code="missing_host", message="request", offset=0),),
                    raw_headers=b"Host : a\n\n",
                ),
                response=response(trailers=headers(("X-Sum", "1")), informational=(early,)),
            ),
        )
    )
    marks = entry["_qtapture"]
    assert marks["anomalies"][0]["code"] == "missing_host"
    assert marks["raw_headers"] == {"request": "Host : a\n\n"}
    assert marks["trailers"] == [{"message": "response", "name": "X-Sum", "value": "1"}]
    assert marks["informational"] == [
        {
            "status": 103,
            "statusText": "Early Hints",
            "headers": [{"name": "Link", "value": "</a.css>"}],
            "time": "2025-11-24T16:00:00.030000Z",
            "t_ns": str(START_NS + 30 * MS),
        }
    ]


def test_raw_headers_give_every_byte_back(tmp_path):
    block = bytes(range(256))
    entry = only(
        written(tmp_path, exchange(request=request(), response=response(raw_headers=block)))
    )
    assert entry["_qtapture"]["raw_headers"]["response"].encode("latin-1") == block


def test_records_span_both_messages(tmp_path):
    both = exchange(
        request=request(first_record=7, last_record=9),
        response=response(first_record=8, last_record=31),
    )
    assert only(written(tmp_path, both))["_qtapture"]["records"] == {"first": 7, "last": 31}


def test_an_entry_names_both_ends_and_what_is_known_from_each(tmp_path):
    views = (
        EndpointView(side=Side.CLIENT, process=CURL, verdict=Verdict.COMPLETE),
        EndpointView(
            side=Side.SERVER,
            process=NGINX,
            verdict=Verdict.OPAQUE,
            reasons=(Reason(code=ReasonCode.NO_PROBE),),
        ),
    )
    where = tls_connection(server_process=NGINX, endpoints=views)
    marks = only(written(tmp_path, exchange(on=where, request=request())))["_qtapture"]
    assert (marks["client"], marks["server"]) == ("10.0.0.5:40000", "93.184.216.34:443")
    assert marks["process"]["comm"] == "curl"
    assert marks["server_process"]["comm"] == "nginx"
    assert [view["verdict"] for view in marks["endpoints"]] == ["complete", "opaque"]
    assert marks["endpoints"][1]["reasons"][0]["code"] == "no_probe"
    assert marks["tls"]["alpn"] == "http/1.1"


def test_a_partial_connection_says_so_in_each_of_its_entries(tmp_path):
    reason = Reason(
        code=ReasonCode.LOST_SAMPLES, direction=Direction.S2C, start=10, end=20, detail="ring"
    )
    where = partial(connection(), reason)
    marks = only(written(tmp_path, exchange(on=where, request=request())))["_qtapture"]
    assert marks["verdict"] == "partial"
    assert marks["reasons"] == [
        {"code": "lost_samples", "direction": "s2c", "start": 10, "end": 20, "detail": "ring"}
    ]


def test_what_is_inside_a_tunnel_names_it_until_the_connection_ends(tmp_path):
    proxy = connection(3, server="10.0.0.9:3128")
    tunnel = exchange(
        1, proxy, request=request("CONNECT", "example.com:443"), response=response(body=b"")
    )
    later = [
        exchange(number, proxy, request=request("GET", "/", first_ns=START_NS + number * 100 * MS))
        for number in (2, 3)
    ]
    refused = exchange(
        4, connection(4), request=request("CONNECT", "db:1"), response=response(403), index=1
    )
    after = exchange(5, connection(4), request=request("GET", "/"), index=2)
    entries = written(tmp_path, tunnel, *later, refused, after)["log"]["entries"]
    vias = {e["_qtapture"]["number"]: e["_qtapture"].get("via") for e in entries}
    inside = "connect://example.com:443"
    assert vias == {1: None, 2: inside, 3: inside, 4: None, 5: None}
    assert {e["connection"] for e in entries if e["_qtapture"]["connection"] == 3} == {"3128"}


def test_ended_tunnels_are_forgotten(tmp_path):
    export = EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())
    where = connection()
    export.begin(tables(where))
    export.exchange(exchange(1, where, request=request("CONNECT", "a:1"), response=response()))
    for item in Talk(where).close().items:
        export.traffic(item)
    export.exchange(exchange(2, where, request=request()))
    export.finish()
    entries = json.loads((tmp_path / "out.har").read_bytes())["log"]["entries"]
    assert not any("via" in entry["_qtapture"] for entry in entries)


def test_connections_without_entries_are_listed_with_their_verdict(tmp_path):
    from builders.traffic import partial

    silent = partial(tls_connection(2), Reason(code=ReasonCode.NO_PROBE))
    har = written(
        tmp_path,
        exchange(request=request(), response=response()),
        survey=tables(connection(), silent),
    )
    rows = har["log"]["_qtapture"]["connections"]
    assert [row["number"] for row in rows] == [1, 2]
    assert rows[1]["reasons"][0]["code"] == "no_probe"


def test_the_log_has_the_session_its_processes_and_its_losses(tmp_path):
    ended = process(argv=("sh", "-c", "a b"), exit_ns=START_NS + MS, exit_signal=9)
    lost = Loss(kind="tls", samples=3, bytes=900, start_ns=START_NS, time_ns=START_NS + MS)
    survey = tables(connection(owner=ended), losses=[lost])
    log = written(tmp_path, survey=survey)["log"]
    assert log["entries"] == []
    assert log["pages"] == []
    marks = log["_qtapture"]
    assert marks["session"]["sha256"] == "ab" * 32
    assert list(marks["session"]) == sorted(marks["session"])
    assert marks["processes"][0]["argv"] == ["sh", "-c", "a b"]
    assert marks["processes"][0]["exit_signal"] == 9
    assert marks["loss"] == [
        {
            "kind": "tls",
            "samples": 3,
            "bytes": 900,
            "skipped": 0,
            "start": "2025-11-24T16:00:00.000000Z",
            "end": "2025-11-24T16:00:00.001000Z",
        }
    ]


def test_entries_are_in_the_order_in_which_they_began(tmp_path):
    slow = connection(1, connect_ns=START_NS + 80 * MS, established_ns=START_NS + 81 * MS)
    late = exchange(1, slow, request=request(first_ns=START_NS + 90 * MS))
    early = exchange(2, connection(2), request=request(first_ns=START_NS + 10 * MS))
    entries = written(tmp_path, late, early)["log"]["entries"]
    assert [e["_qtapture"]["number"] for e in entries] == [2, 1]


def test_the_same_session_gives_the_same_bytes(tmp_path):
    one = exchange(request=request(), response=response(body=b"x" * 1000))
    two = exchange(request=request(), response=response(body=b"x" * 1000))
    written(tmp_path, one)
    first = (tmp_path / "out.har").read_bytes()
    written(tmp_path, two)
    assert (tmp_path / "out.har").read_bytes() == first


def test_hostile_text_stays_text(tmp_path):
    nasty = "\x1b[2J\u2028</script>\x00\x7f\x9b\u202e\ufeff"
    entry = only(
        written(
            tmp_path,
            exchange(
                request=request("GET", "/", ("Host", "a"), ("X", "\x1b[2J</script>")),
                response=response(body=nasty.encode(), reason="\x1b]0;pwned\x07"),
                process=process(comm=nasty),
            ),
        )
    )
    assert entry["response"]["content"]["text"] == nasty
    assert entry["_qtapture"]["process"]["comm"] == nasty
    raw = (tmp_path / "out.har").read_bytes()
    assert not any(byte in raw for byte in (b"\x1b", b"\x7f", b"\xc2\x9b", b"\xe2\x80\xa8", b"\0"))


def test_names_that_are_no_utf_8_are_shown_with_their_bytes(tmp_path):
    odd = process(comm="a\udcffb", argv=("a\udcff",))
    entry = only(written(tmp_path, exchange(on=connection(owner=odd), request=request())))
    assert entry["_qtapture"]["process"]["comm"] == r"a\udcffb"


@pytest.mark.parametrize("time_ns", [-1, -(1 << 63), 1 << 62, 1 << 64])
def test_times_of_a_damaged_session_are_dates_that_readers_can_parse(tmp_path, time_ns):
    where = connection(first_ns=time_ns, connect_ns=time_ns, established_ns=time_ns)
    asked = request(first_ns=time_ns, last_ns=START_NS)
    answered = response(first_ns=START_NS, last_ns=time_ns)
    entry = only(written(tmp_path, exchange(on=where, request=asked, response=answered)))
    assert entry["time"] >= 0


def test_memory_does_not_grow_with_the_number_of_entries(tmp_path):
    where = connection()

    def many(count):
        for number in range(1, count + 1):
            yield exchange(number, where, request=request(), response=response(body=b"y" * 4000))

    peaks = {}
    for count in (100, 10_000):
        path = tmp_path / f"{count}.har"
        export = EXPORTS["har"].open(path, clock(), ExportOptions())
        tracemalloc.start()
        feed(export, tables(where), (), many(count))
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert path.read_bytes().count(b"startedDateTime") == count
    # The index of the spool, at 44 bytes and an object an entry until it goes to the disk.
    assert peaks[10_000] - peaks[100] < 2 << 20


def test_memory_does_not_grow_with_a_body(tmp_path):
    class Endless(MemoryBody):
        """100 MiB that nobody holds."""

        decoded_size = encoded_size = 100 << 20

        def iter_decoded(self):
            yield from (b"z" * 65536 for _ in range(1600))

    export = EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())
    answer = replace(response(), body=Endless())
    tracemalloc.start()
    feed(export, tables(connection()), (), [exchange(request=request(), response=answer)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    assert (tmp_path / "out.har.files" / "1-response.body").stat().st_size == 100 << 20
