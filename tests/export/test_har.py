"""HAR: what was said, in the form that every viewer takes."""

import base64
import gzip
import hashlib
import json
import os
import tracemalloc
from pathlib import Path

import jsonschema
import pytest
from builders.har_rules import violations
from builders.node import run_node
from builders.traffic import (
    MS,
    START_NS,
    MemoryBody,
    clock,
    connection,
    exchange,
    feed,
    gzip_body,
    headers,
    process,
    request,
    response,
    tables,
    tls_connection,
)

from qtapture.errors import UsageError
from qtapture.events import Anomaly, Reason, ReasonCode
from qtapture.export import EXPORTS, ExportOptions

SCHEMA = json.loads((Path(__file__).parents[2] / "formats/har-qtapture.schema.json").read_text())


def written(folder: Path, *exchanges, survey=None, **options) -> dict:
    """Write a HAR, hold it to all rules, and give it back."""
    path = folder / "out.har"
    connections = {e.connection.number: e.connection for e in exchanges}
    export = EXPORTS["har"].open(path, clock(), ExportOptions(force=True, **options))
    feed(export, survey or tables(*connections.values()), (), exchanges)
    har = json.loads(path.read_bytes())
    assert violations(har) == []
    for entry in har["log"]["entries"]:
        jsonschema.validate(entry["_qtapture"], SCHEMA)
    return har


def only(har: dict) -> dict:
    (entry,) = har["log"]["entries"]
    return entry


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


def test_a_gzip_body_has_the_right_sizes(tmp_path):
    content = b"the same again\n" * 400
    entry = only(
        written(tmp_path, exchange(request=request(), response=response(body=gzip_body(content))))
    )
    body = entry["response"]["content"]
    wire = len(gzip.compress(content, mtime=0))
    assert (body["size"], entry["response"]["bodySize"]) == (len(content), wire)
    assert body["compression"] == len(content) - wire
    assert body["text"] == content.decode()
    assert body["_qtapture"]["codings"] == ["gzip"]


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


def test_an_answer_before_the_request_has_ended_overlaps_and_never_waits(tmp_path):
    entry = only(
        written(
            tmp_path,
            exchange(
                request=request(first_ns=START_NS, last_ns=START_NS + 20 * MS),
                response=response(first_ns=START_NS + 5 * MS, last_ns=START_NS + 6 * MS),
            ),
        )
    )
    timings = entry["timings"]
    assert (timings["send"], timings["wait"], timings["receive"]) == (5, 0, 1)
    assert entry["_qtapture"]["overlap_ms"] == 15


def test_binary_bodies_are_base64_and_binary_uploads_stand_beside_an_empty_text(tmp_path):
    blob = bytes(range(256))
    kind = ("Content-Type", "application/octet-stream")
    entry = only(
        written(
            tmp_path,
            exchange(
                request=request("POST", "/", ("Host", "a"), kind, body=blob),
                response=response(200, kind, body=blob),
            ),
        )
    )
    assert base64.b64decode(entry["response"]["content"]["text"]) == blob
    assert entry["request"]["postData"]["text"] == ""
    assert base64.b64decode(entry["request"]["postData"]["_textBase64"]) == blob


def test_text_is_read_in_the_charset_that_it_claims(tmp_path):
    kind = ("Content-Type", "text/html; charset=ISO-8859-2")
    body = "žluťoučký".encode("iso-8859-2")
    entry = only(
        written(tmp_path, exchange(request=request(), response=response(200, kind, body=body)))
    )
    assert entry["response"]["content"]["text"] == "žluťoučký"


@pytest.mark.parametrize("charset", ["base64", "zip", "rot13", "nonsense", "utf-16"])
def test_a_charset_that_is_none_or_does_not_fit_makes_the_body_binary(tmp_path, charset):
    kind = ("Content-Type", f"text/plain; charset={charset}")
    entry = only(
        written(tmp_path, exchange(request=request(), response=response(200, kind, body=b"abc")))
    )
    assert entry["response"]["content"]["encoding"] == "base64"


def test_a_large_body_is_a_file_beside_with_its_digest(tmp_path):
    blob = os.urandom(9 << 20)
    entry = only(written(tmp_path, exchange(request=request(), response=response(body=blob))))
    file = entry["response"]["content"]["_qtapture"]["file"]
    assert file["name"] == "out.har.files/1-response.body"
    assert (tmp_path / file["name"]).read_bytes() == blob
    assert file["sha256"] == hashlib.sha256(blob).hexdigest()
    assert entry["response"]["content"]["size"] == len(blob)


def test_without_files_a_large_body_is_cut_and_says_so(tmp_path):
    blob = b"a" * (9 << 20)
    entry = only(
        written(tmp_path, exchange(request=request(), response=response(body=blob)), no_files=True)
    )
    content = entry["response"]["content"]
    assert content["_qtapture"]["truncated"] == {"bytes": 1 << 20, "reason": "no_files"}
    assert len(content["text"]) == 8 << 20
    assert not (tmp_path / "out.har.files").exists()


def test_a_body_that_cannot_be_decoded_is_shown_encoded_and_says_why(tmp_path):
    body = MemoryBody(encoded=b"\x00broken", undecodable="gzip: not gzip")
    entry = only(written(tmp_path, exchange(request=request(), response=response(body=body))))
    content = entry["response"]["content"]
    assert content["_qtapture"]["undecodable"] == "gzip: not gzip"
    assert base64.b64decode(content["text"]) == b"\x00broken"


def test_a_request_without_an_answer_has_status_0_and_an_error(tmp_path):
    entry = only(written(tmp_path, exchange(request=request(), error="no_response")))
    assert entry["response"]["status"] == 0
    assert entry["response"]["_error"] == "no_response"
    assert entry["_qtapture"]["incomplete"] == {"response": "no_response"}


def test_an_answer_without_a_request_is_shown_too(tmp_path):
    entry = only(written(tmp_path, exchange(response=response())))
    assert entry["request"]["method"] == "unknown"
    assert entry["_qtapture"]["incomplete"] == {"request": "not_seen"}


@pytest.mark.parametrize(
    ("target", "host", "url"),
    [
        ("/", "example.com", "http://example.com/"),
        ("/a b", "example.com", "http://example.com/a%20b"),
        ("/%zz?<>", "example.com", "http://example.com/%25zz?%3C%3E"),
        ("*", "example.com", "http://example.com/*"),
        ("http://other.org/x?y#z", "example.com", "http://other.org/x?y%23z"),
        ("/", "[fe80::1%25eth0]:8080", "http://[fe80::1]:8080/"),
        ("/", "ho st\x07", "http://ho%20st%07/"),
        ("no-slash", "example.com", "http://example.com/no-slash"),
    ],
)
def test_any_target_becomes_a_url_and_stays_as_it_was_beside(tmp_path, target, host, url):
    entry = only(written(tmp_path, exchange(request=request("GET", target, ("Host", host)))))
    assert entry["request"]["url"] == url
    assert entry["_qtapture"]["target"] == target


def test_a_tunnel_is_a_url_of_its_own(tmp_path):
    entry = only(written(tmp_path, exchange(request=request("CONNECT", "db.example:5432"))))
    assert entry["request"]["url"] == "connect://db.example:5432"


def test_a_request_without_host_names_the_address(tmp_path):
    entry = only(written(tmp_path, exchange(request=request("GET", "/", ("Accept", "*/*")))))
    assert entry["request"]["url"] == "http://93.184.216.34:443/"


def test_cookies_are_listed_one_by_one(tmp_path):
    sent = ("Cookie", "a=1; b=2; a=3")
    got = ("Set-Cookie", "s=x; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT; HttpOnly; Secure")
    entry = only(
        written(
            tmp_path,
            exchange(request=request("GET", "/", ("Host", "a"), sent), response=response(200, got)),
        )
    )
    assert [(c["name"], c["value"]) for c in entry["request"]["cookies"]] == [
        ("a", "1"),
        ("b", "2"),
        ("a", "3"),
    ]
    (cookie,) = entry["response"]["cookies"]
    assert cookie["expires"] == "2026-10-21T07:28:00Z"
    assert cookie["httpOnly"]
    assert cookie["secure"]


def test_what_har_has_no_word_for_is_kept_beside(tmp_path):
    early = response(103, ("Link", "</a.css>"), reason="Early Hints")
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
    assert marks["informational"][0]["status"] == 103


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
    nasty = "\x1b[2J\u2028</script>\x00\x7f"
    entry = only(
        written(
            tmp_path,
            exchange(
                request=request("GET", "/", ("Host", "a"), ("X", "\x1b[2J</script>")),
                response=response(body=nasty.encode()),
                process=process(comm=nasty),
            ),
        )
    )
    assert entry["response"]["content"]["text"] == nasty
    assert entry["_qtapture"]["process"]["comm"] == nasty


def test_memory_does_not_grow_with_the_number_of_entries(tmp_path):
    where = connection()

    def many():
        for number in range(1, 3001):
            yield exchange(number, where, request=request(), response=response(body=b"y" * 4000))

    export = EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())
    tracemalloc.start()
    feed(export, tables(where), (), many())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert len(json.loads((tmp_path / "out.har").read_bytes())["log"]["entries"]) == 3000


def test_abandoning_leaves_nothing(tmp_path):
    export = EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())
    export.begin(tables(connection()))
    export.exchange(exchange(request=request(), response=response(body=os.urandom(9 << 20))))
    export.abandon()
    export.abandon()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_har_is_kept(tmp_path):
    (tmp_path / "out.har").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())


def test_haralyzer_reads_it(tmp_path):
    import haralyzer

    har = written(
        tmp_path,
        exchange(
            request=request("POST", "/up", ("Host", "a"), body=b"\x00\x01"),
            response=response(body=b"<p>"),
        ),
    )
    (entry,) = haralyzer.HarParser(har).har_data["entries"]
    found = haralyzer.HarEntry(entry)
    assert found.request.method == "POST"
    assert found.response.status == 200
    assert found.port == 443


def test_the_developer_tools_of_chrome_import_it(tmp_path):
    body = gzip_body(b"text " * 1000)
    written(
        tmp_path,
        exchange(1, request=request("GET", "/a"), response=response(body=body)),
        exchange(2, request=request("GET", "/b"), error="no_response"),
        exchange(3, response=response(404, reason="Not Found", first_ns=START_NS + 90 * MS)),
    )
    rows = run_node("har_import.mjs", tmp_path / "out.har", tmp_path)
    assert [(row["method"], row["status"]) for row in rows] == [
        ("GET", 200),
        ("GET", 0),
        ("unknown", 404),
    ]
    assert rows[0]["url"] == "http://example.com/a"
    assert rows[0]["text"] == "text " * 1000
    assert rows[0]["size"] == 5000
    assert rows[0]["duration"] * 1000 == pytest.approx(22, abs=0.5)
