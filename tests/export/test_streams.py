"""The streams folder: bytes, bodies, and a manifest that accounts for all of them."""

import hashlib
import json
import stat
from pathlib import Path

import jsonschema
import pytest
from builders.traffic import (
    MemoryBody,
    Talk,
    clock,
    connection,
    exchange,
    feed,
    gzip_body,
    merge,
    process,
    raw,
    request,
    response,
    tables,
    tls_connection,
)

from qtapture.errors import UsageError
from qtapture.events import Direction, Loss, Reason, ReasonCode, Verdict
from qtapture.export import EXPORTS, ExportOptions, streams

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "formats" / "streams-manifest.schema.json").read_text()
)
GET = raw(request("GET", "/index.html"))
OK = raw(response(body=b"hello"))
C2S, S2C = Direction.C2S, Direction.S2C


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.streams"


def write(path, survey, items=(), exchanges=(), **options):
    export = EXPORTS["streams"].open(path, clock(), ExportOptions(**options))
    feed(export, survey, items, exchanges)
    manifest = json.loads((path / "manifest.json").read_bytes())
    jsonschema.validate(manifest, SCHEMA)
    listed = {row["name"]: row for row in manifest["files"]}
    present = {str(f.relative_to(path)) for f in path.rglob("*") if f.is_file()}
    assert present == {"manifest.json", *listed}
    for name, row in listed.items():
        content = (path / name).read_bytes()
        assert row["length"] == len(content)
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
    return manifest, listed


def written(path, *talks, **more):
    return write(path, tables(*(t.connection for t in talks)), merge(*talks), **more)


def test_each_direction_is_a_file_with_exactly_what_was_said(path):
    talk = Talk(tls_connection()).open().client(GET).server(OK).client(GET).close()
    _, files = written(path, talk)
    assert (path / "conn-1/c2s").read_bytes() == GET * 2
    assert (path / "conn-1/s2c").read_bytes() == OK
    assert files["conn-1/c2s"]["process"]["name"] == "curl"
    assert files["conn-1/c2s"]["source"] == "tls"
    assert files["conn-1/c2s"]["gaps"] == []


def test_missing_bytes_are_left_out_and_listed(path):
    talk = Talk(connection(), plaintext=False).open()
    talk.server(b"abc").gap(S2C, 10).server(b"def").gap(S2C, None, ReasonCode.DAMAGED_SESSION)
    talk.server(b"ghi").close()
    _, files = written(path, talk)
    assert (path / "conn-1/s2c").read_bytes() == b"abcdefghi"
    assert files["conn-1/s2c"]["gaps"] == [
        {"start": 3, "end": 13, "reason": "lost_samples"},
        {"start": 16, "end": None, "reason": "damaged_session"},
    ]
    assert files["conn-1/s2c"]["source"] == "socket"


def test_a_direction_of_which_all_is_missing_is_an_empty_file_and_a_silent_one_is_none(path):
    _, files = written(path, Talk(tls_connection()).open().gap(S2C, None).close())
    assert set(files) == {"conn-1/s2c"}
    assert (path / "conn-1/s2c").read_bytes() == b""


def test_bodies_are_decoded_and_the_encoded_ones_stand_beside(path):
    talk = Talk(tls_connection()).open()
    page = b"page " * 5000
    done = [
        exchange(
            1,
            talk.connection,
            request=request("POST", "/", body=b"plain"),
            response=response(body=gzip_body(page)),
        ),
        exchange(2, talk.connection, request=request("GET"), response=response(body=b"")),
    ]
    manifest, files = write(path, tables(talk.connection), talk.items, done)
    assert [row["name"] for row in manifest["files"]] == [
        "conn-1/1-request.body",
        "conn-1/1-response.body",
        "conn-1/1-response.body.encoded",
    ]
    assert (path / "conn-1/1-request.body").read_bytes() == b"plain"
    assert (path / "conn-1/1-response.body").read_bytes() == page
    assert files["conn-1/1-response.body.encoded"]["encoded"] is True
    assert files["conn-1/1-response.body.encoded"]["codings"] == ["gzip"]


def test_a_body_that_could_not_be_decoded_stands_once_and_says_why(path):
    body = MemoryBody(encoded=b"junk", undecodable="gzip: bad magic")
    done = [exchange(1, request=None, response=response(body=body, complete=False,
                     incomplete_reason="gap"))]  # fmt: skip
    _, files = write(path, tables(connection()), [], done)
    assert list(files) == ["conn-1/1-response.body"]
    row = files["conn-1/1-response.body"]
    assert row["undecodable"] == "gzip: bad magic"
    assert (row["complete"], row["incomplete_reason"]) == (False, "gap")


def test_hundreds_of_connections_need_few_open_files(path):
    export = EXPORTS["streams"].open(path, clock(), ExportOptions())
    talks = [
        Talk(connection(n, client=f"10.0.0.5:{10000 + n}"), plaintext=False) for n in range(1, 301)
    ]
    export.begin(tables(*(t.connection for t in talks)))
    most = 0
    for round_ in range(3):
        for talk in talks:
            talk.items.clear()
            talk.client(b"%d " % round_).server(b"%d " % talk.connection.number)
            for item in talk.items:
                export.traffic(item)
            most = max(most, len(list(Path("/proc/self/fd").iterdir())))
    export.finish()
    assert most < 64 + 40
    for talk in talks:
        folder = path / f"conn-{talk.connection.number}"
        assert (folder / "c2s").read_bytes() == b"0 1 2 "
        assert (folder / "s2c").read_bytes() == b"%d " % talk.connection.number * 3


def test_connections_without_files_and_losses_are_in_the_manifest(path):
    refused = connection(error="ECONNREFUSED", established_ns=None, closed_ns=None)
    reason = Reason(code=ReasonCode.NO_PROBE, direction=C2S, start=0, end=None, detail="rustls")
    opaque = tls_connection(2, verdict=Verdict.OPAQUE, reasons=(reason,), client=None)
    loss = Loss(kind="tls", samples=3, bytes=40, start_ns=refused.first_ns, time_ns=opaque.last_ns)
    manifest, files = write(path, tables(refused, opaque, losses=[loss]))
    assert files == {}
    assert manifest["connections"][0]["error"] == "ECONNREFUSED"
    assert manifest["connections"][1]["verdict"] == "opaque"
    assert manifest["connections"][1]["reasons"][0]["code"] == "no_probe"
    assert manifest["losses"][0]["samples"] == 3
    assert manifest["session"]["uuid"].startswith("3f1c7c60")


def test_gaps_beyond_the_limit_are_counted(path, monkeypatch):
    monkeypatch.setattr(streams, "MOST_GAPS", 2)
    talk = Talk(connection())
    for _ in range(5):
        talk.server(b"x").gap(S2C, 1)
    _, files = written(path, talk)
    assert len(files["conn-1/s2c"]["gaps"]) == 2
    assert files["conn-1/s2c"]["gaps_unlisted"] == 3


def test_the_same_input_gives_the_same_bytes(tmp_path):
    talks = [Talk(connection(n, owner=process(n, "\x1b[1m☃\ud800"))).open() for n in (1, 2)]
    for talk in talks:
        talk.client(GET).server(OK).close()
    for name in ("a", "b"):
        written(tmp_path / name, *talks)
    one, two = ((tmp_path / n / "manifest.json").read_bytes() for n in "ab")
    assert one == two
    assert one.isascii()
    assert b"\x1b" not in one


def test_nobody_else_can_read_it(path):
    written(path, Talk(connection()).client(GET))
    modes = {stat.S_IMODE(each.stat().st_mode) for each in [path, *path.rglob("*")]}
    assert modes == {0o600, 0o700}


def test_stdout_is_refused():
    with pytest.raises(UsageError, match="stdout"):
        EXPORTS["streams"].open(None, clock(), ExportOptions())


def test_an_abandoned_folder_is_gone(path):
    export = EXPORTS["streams"].open(path, clock(), ExportOptions())
    export.begin(tables())
    for item in Talk(connection()).client(GET).items:
        export.traffic(item)
    export.abandon()
    assert list(path.parent.iterdir()) == []


def test_force_replaces_an_earlier_export_and_nothing_else(path):
    written(path, Talk(connection()).client(GET))
    with pytest.raises(UsageError, match="exists"):
        written(path, Talk(connection(2)).client(GET))
    written(path, Talk(connection(2)).client(GET), force=True)
    assert not (path / "conn-1").exists()
    (path / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="not an earlier output"):
        written(path, Talk(connection(3)).client(GET), force=True)
    assert (path / "conn-2/c2s").exists()
    assert [p.name for p in path.parent.iterdir()] == ["out.streams"]
