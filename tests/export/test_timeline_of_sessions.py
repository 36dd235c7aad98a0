"""Timelines and traces of committed sessions, whole and damaged: rules, schema, same bytes."""

import json
from pathlib import Path

import jsonschema
import pytest
from builders.node import run_node

from qtapture.analysis import open_analysis
from qtapture.errors import NotASessionError
from qtapture.events import Exchange
from qtapture.export import EXPORTS, ExportOptions

ROOT = Path(__file__).parents[2]
SESSIONS = sorted((ROOT / "fixtures").glob("*.qtap"))
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "formats" / "timeline.schema.json").read_text())
)


def exported(kind: str, session: Path, path: Path) -> bytes:
    analysis = open_analysis(session)
    export = EXPORTS[kind].open(path, analysis.clock, ExportOptions(force=True))
    export.begin(analysis.tables)
    for item in analysis.iter_items():
        if isinstance(item, Exchange):
            export.exchange(item)
            item.close()
        else:
            export.traffic(item)
    export.finish()
    return path.read_bytes()


def rows_of(session: Path, path: Path) -> list[dict]:
    raw = exported("timeline", session, path)
    rows = [json.loads(line) for line in raw.decode().split("\n")[:-1]]
    for row in rows:
        SCHEMA.validate(row)
    order = [(int(row["t_ns"]), row.get("qt.rec", 0)) for row in rows]
    assert order == sorted(order)
    return rows


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.stem)
@pytest.mark.parametrize("kind", ["timeline", "trace"])
def test_each_session_gives_the_same_bytes_twice(tmp_path, kind, session):
    try:
        first = exported(kind, session, tmp_path / "one")
    except NotASessionError:
        pytest.skip("nothing in it can be read")  # as tests/formats holds
    assert exported(kind, session, tmp_path / "two") == first
    if kind == "timeline":
        rows_of(session, tmp_path / "three")
    else:
        assert json.loads(first)["traceEvents"]


def test_the_real_one_tells_its_story_in_order(tmp_path):
    rows = rows_of(ROOT / "fixtures" / "real-curl-nginx.qtap", tmp_path / "out.jsonl")
    assert rows[0]["timestamp_desc"] == "Process exec"
    asked = [(r["url.full"], r["http.response.status_code"]) for r in rows if "url.full" in r]
    assert [(url.rpartition("/")[2], status) for url, status in asked] == [
        ("1", 200),
        ("t.txt", 200),
    ]
    assert any(row["event.action"] == "tls-plaintext" for row in rows)
    closed = next(row for row in rows if row["event.action"] == "connection-closed")
    assert closed["source.bytes"] > 0
    assert closed["destination.bytes"] > 0


def test_the_panel_finds_the_real_exchanges_in_one_lane(tmp_path):
    path = tmp_path / "out.trace.json"
    exported("trace", ROOT / "fixtures" / "real-curl-nginx.qtap", path)
    found = run_node("trace_load.mjs", path)
    lanes = [lane for lane in found["lanes"] if (lane["name"] or "").startswith("conn ")]
    asked = [name for lane in lanes for name in lane["entries"] if name.startswith("GET ")]
    assert len(asked) == 2
