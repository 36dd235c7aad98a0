"""verify: is a session as its writer left it?"""

import json
from pathlib import Path

import pytest

from qtapture.cli.app import run

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.mark.parametrize(
    ("name", "status", "state"),
    [
        ("session-v1-minimal", 0, "intact"),
        ("recovered", 0, "recovered"),
        ("unclosed", 1, "unclosed"),
        ("damaged-flipped-byte", 1, "damaged"),
    ],
)
def test_the_state_is_told_and_is_the_exit_status(
    name: str, status: int, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(FIXTURES / f"{name}.qtap")]) == status
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith(f"{name}.qtap: {state}")


def test_each_finding_has_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    run(["verify", str(FIXTURES / "damaged-flipped-byte.qtap")])
    assert "payload_damaged at byte 435, chunk 1" in capsys.readouterr().out


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    run(["verify", "--json", str(FIXTURES / "damaged-chunk-removed.qtap")])
    facts = json.loads(capsys.readouterr().out)
    assert facts["state"] == "damaged"
    assert facts["findings"] == [
        {"code": "chunks_missing", "offset": 435, "chunk": 2, "detail": "1 before it"}
    ]
    assert len(facts["chain_head"]) == 64
    assert facts["manifest"]["reason"] == "command ended"


def test_what_is_no_session_is_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.qtap"
    path.write_text("no session")
    assert run(["verify", str(path)]) == 4
    assert capsys.readouterr().err == f"qtapture: {path} is not a session (at byte 0)\n"


def test_a_name_that_steers_a_terminal_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "\x1b[2Jx.qtap"
    path.write_bytes((FIXTURES / "session-v1-minimal.qtap").read_bytes())
    assert run(["verify", str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out
