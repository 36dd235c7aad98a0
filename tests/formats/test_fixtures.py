"""Committed sessions read as fixtures/README.md says, for ever."""

import re
from pathlib import Path

import pytest
from builders.replays import exchanges
from builders.sessions import told

from qtapture.analysis import open_analysis
from qtapture.events import Verdict
from qtapture.session import open_session, verify_session

FIXTURES = Path(__file__).parents[2] / "fixtures"
ROWS = re.findall(
    r"^\| `([\w-]+\.qtap)` \| .* \| (\w+)(?:: (.*?))? \|$",
    (FIXTURES / "README.md").read_text(),
    re.MULTILINE,
)


def test_every_session_is_in_the_table() -> None:
    assert {name for name, _, _ in ROWS} == {path.name for path in FIXTURES.glob("*.qtap")}


@pytest.mark.parametrize(("name", "state", "codes"), ROWS)
def test_verify_says_what_the_table_says(name: str, state: str, codes: str) -> None:
    found = verify_session(FIXTURES / name)
    assert found.state == state
    for code in re.findall(r"`(\w+)`", codes):
        assert code in {finding.code for finding in found.findings}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("session-v1-minimal", "0 1 2"),
        ("unclosed", "0 1 2"),
        ("damaged-truncated", "0 1"),
        ("damaged-flipped-byte", "0 2"),
        ("damaged-header", "0 1 2"),
        ("damaged-chunk-removed", "0 2"),
        ("damaged-chunks-swapped", "1 0 2"),
        ("damaged-chunk-repeated", "0 1 2"),
        ("recovered", "0 2"),
    ],
)
def test_what_is_readable_is_read(name: str, rows: str) -> None:
    found = told(open_session(FIXTURES / f"{name}.qtap"))
    samples = [row.removeprefix("sample ") for row in found if row.startswith("sample")]
    assert samples == rows.split()


def test_the_full_one_replays_to_processes_and_connections() -> None:
    tables = open_analysis(FIXTURES / "session-v1-full.qtap").tables
    assert [process.label for process in tables.processes] == [
        "nginx[900]",
        "bash[4001]",
        "curl[4002]",
    ]
    assert [c.verdict for c in tables.connections] == [Verdict.COMPLETE, Verdict.PARTIAL]


def test_the_real_one_replays_to_its_two_exchanges() -> None:
    found = exchanges(FIXTURES / "real-curl-nginx.qtap")
    assert [(seen.method, seen.target, seen.status) for seen in found] == [
        ("GET", "/1", 200),
        ("GET", "/t.txt", 200),
    ]
    assert [len(seen.body) for seen in found] == [1, 6001]
    assert all(seen.complete for seen in found)
