"""Other people's readers of HAR: Chrome's importer, haralyzer, har-schema under ajv."""

import json
import os

import pytest
from builders.hars import written
from builders.node import run_node
from builders.traffic import (
    MS,
    START_NS,
    MemoryBody,
    connection,
    exchange,
    gzip_body,
    process,
    request,
    response,
    tls_connection,
)

NASTY = [
    *("", "\x00", "\x1b[2J", "\u2028\u202e\ufeff", "</script>"),
    *("%zz%", "[::", "a" * 5000, "\xff\xfe"),
]


def as_latin(text):
    """What a header can carry of it."""
    return text.encode().decode("latin-1")


def hostile():
    """Exchanges whose every string is a trap."""
    for number, word in enumerate(NASTY, 1):
        line = as_latin(word)
        yield exchange(
            number,
            tls_connection(number, owner=process(comm=word, argv=(word, word)), error=word),
            request=request(
                line or "GET",
                line,
                ("Host", line),
                ("Cookie", line),
                ("Content-Type", line),
                (line, line),
                body=word.encode() or b"x",
                version=word,
                first_ns=START_NS + number * MS,
            ),
            response=response(
                number,
                ("Content-Type", line),
                ("Set-Cookie", f"{line}; Expires={line}; Path={line}"),
                ("Location", line),
                (line, line),
                body=MemoryBody(word.encode(), undecodable=word or None, codings=(line,)),
                reason=line,
                first_ns=START_NS + (number + 50) * MS,
                complete=False,
                incomplete_reason=word,
            ),
        )


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


def test_the_developer_tools_show_what_failed_and_what_is_binary(tmp_path):
    blob = os.urandom(3000)
    kind = ("Content-Type", "image/png")
    written(
        tmp_path,
        exchange(1, request=request("GET", "/a"), response=response(200, kind, body=blob)),
        exchange(2, tls_connection(2), request=request("POST", "/b", body=blob), error="gap"),
    )
    first, second = run_node("har_import.mjs", tmp_path / "out.har", tmp_path)
    assert first["base64"] is not None
    assert first["address"] == "93.184.216.34:443"
    assert second["url"] == "https://example.com/b"
    assert second["status"] == 0


def test_all_readers_take_hostile_strings(tmp_path):
    import haralyzer

    har = written(tmp_path, *hostile())
    statuses = [entry["response"]["status"] for entry in har["log"]["entries"]]
    assert len(statuses) == len(NASTY)
    path = tmp_path / "out.har"
    assert run_node("har_schema.mjs", path) == {str(path): []}
    rows = run_node("har_import.mjs", path, tmp_path)
    assert [row["status"] for row in rows] == statuses
    for entry in haralyzer.HarParser(har).har_data["entries"]:
        found = haralyzer.HarEntry(entry)
        assert found.url == entry["request"]["url"]
        assert found.status == entry["response"]["status"]
        assert found.startTime.year == 2025


def test_ajv_accepts_entries_of_all_kinds(tmp_path):
    written(
        tmp_path,
        exchange(1, request=request("CONNECT", "[::1]:443"), response=response()),
        exchange(2, connection(2, server=None, client=None), request=request("OPTIONS", "*")),
        exchange(3, connection(3, server="[fe80::1%eth0]:443"), response=response(599)),
        exchange(4, request=request(body=gzip_body(b"x" * 99)), response=response(304)),
    )
    path = tmp_path / "out.har"
    assert run_node("har_schema.mjs", path) == {str(path): []}


@pytest.mark.parametrize("script", ["har_schema.mjs", "har_import.mjs"])
def test_the_readers_do_refuse_what_is_no_har(tmp_path, script):
    written(tmp_path, exchange(request=request(), response=response()))
    path = tmp_path / "out.har"
    har = json.loads(path.read_bytes())
    har["log"]["entries"][0]["response"]["content"]["size"] = "many"
    path.write_text(json.dumps(har))
    if script == "har_schema.mjs":
        assert len(run_node(script, path)[str(path)]) == 1
    else:
        with pytest.raises(AssertionError):  # NaN, at which Chrome gives up
            run_node(script, path, tmp_path)
