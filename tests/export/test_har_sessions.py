"""HARs of committed sessions, whole and damaged: rules, schemas, same bytes."""

from pathlib import Path

import pytest
from builders.hars import checked

from qtapture.analysis import open_analysis
from qtapture.errors import NotASessionError
from qtapture.events import Exchange
from qtapture.export import EXPORTS, ExportOptions

FIXTURES = Path(__file__).parents[2] / "fixtures"
SESSIONS = sorted(FIXTURES.glob("*.qtap"))


def exported(session: Path, path: Path) -> bytes:
    analysis = open_analysis(session)
    export = EXPORTS["har"].open(path, analysis.clock, ExportOptions())
    export.begin(analysis.tables)
    for item in analysis.iter_items():
        if isinstance(item, Exchange):
            export.exchange(item)
            item.close()
        else:
            export.traffic(item)
    export.finish()
    return path.read_bytes()


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.stem)
def test_each_session_gives_a_good_har_and_the_same_bytes_twice(tmp_path, session):
    try:
        first = exported(session, tmp_path / "one.har")
    except NotASessionError:
        return  # nothing in it can be read, as tests/formats holds
    checked(tmp_path / "one.har")
    assert exported(session, tmp_path / "two.har") == first


def test_the_real_one_has_its_exchanges_with_their_processes(tmp_path):
    exported(FIXTURES / "real-curl-nginx.qtap", tmp_path / "out.har")
    log = checked(tmp_path / "out.har")["log"]
    entries = log["entries"]
    assert [entry["response"]["status"] for entry in entries] == [200, 200]
    assert [entry["request"]["url"].rpartition("/")[2] for entry in entries] == ["1", "t.txt"]
    assert {entry["_qtapture"]["process"]["comm"] for entry in entries} == {"curl"}
    assert all(entry["_qtapture"]["complete"] for entry in entries)
    assert log["_qtapture"]["connections"][0]["verdict"] == "complete"
