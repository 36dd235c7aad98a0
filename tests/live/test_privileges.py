"""As little as it takes: recording with a few capabilities, reading files with none."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.clients import curl
from builders.nginx import Nginx
from builders.recording import Recording, qtapture, run, run_client
from builders.replays import exchanges

from qtapture.capture.checks import HELPFUL_CAPABILITIES, NEEDED_CAPABILITIES
from qtapture.capture.parsing import Parser

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where nobody may write and everybody may look."""
    path = Path(tempfile.mkdtemp(prefix="qtapture-test-"))
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def only(*capabilities: str) -> str:
    """For setpriv: these and no others."""
    return ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in capabilities)])


def as_nobody(*capabilities: str) -> list[str]:
    """A command's beginning: another user, with these capabilities alone."""
    allowed = only(*capabilities)
    who = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    sets = ("--bounding-set", allowed, "--inh-caps", allowed, "--ambient-caps", allowed)
    return ["setpriv", *who, *sets]


def as_little_root(*capabilities: str) -> list[str]:
    """The same for root, who owns the checkout: nobody may not look into every home."""
    return ["setpriv", "--bounding-set", only(*capabilities), "--inh-caps", "-all"]


def test_three_capabilities_are_enough_to_record_a_command(nginx: Nginx, tmp_path: Path) -> None:
    client = curl(nginx.certificate.path, nginx.url("page.txt"))
    session = tmp_path / "a.qtap"
    record = qtapture("record", "-o", session, "--", *client)
    allowed = as_little_root(*NEEDED_CAPABILITIES)
    subprocess.run([*allowed, *record], check=True, capture_output=True)
    (seen,) = exchanges(session)
    assert (seen.status, len(seen.body), seen.complete) == (200, 700, True)
    assert session.stat().st_mode & 0o777 == 0o600


def test_with_the_helpful_ones_the_whole_host_is_seen(nginx: Nginx, folder: Path) -> None:
    session = folder / "host.qtap"
    allowed = as_nobody(*NEEDED_CAPABILITIES, *HELPFUL_CAPABILITIES)
    with Recording(session, ("--port", nginx.https), prefix=tuple(allowed)) as recording:
        run_client(curl(nginx.certificate.path, nginx.url("page.txt")))
        recording.stop()
    (seen,) = exchanges(session)
    assert (seen.client, seen.server, seen.complete) == ("curl", "nginx", True)
    assert session.stat().st_uid == NOBODY
    assert session.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("missing", ["CAP_BPF", "CAP_PERFMON"])
def test_without_one_of_them_it_says_which_are_needed(tmp_path: Path, missing: str) -> None:
    have = [name for name in NEEDED_CAPABILITIES if name != missing]
    record = qtapture("record", "-o", tmp_path / "a.qtap", "--duration", "1s")
    result = subprocess.run(
        [*as_little_root(*have), *record], check=False, capture_output=True, text=True
    )
    assert result.returncode == 3
    assert missing in result.stderr
    assert result.stderr.count("\n") == 1


def test_doctor_tells_needed_from_helpful() -> None:
    command = [*as_little_root(*NEEDED_CAPABILITIES), *qtapture("doctor")]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert "ok  capabilities: CAP_BPF" in result.stdout
    assert "--  more capabilities: missing CAP_SYS_PTRACE" in result.stdout


def test_files_are_read_by_a_process_that_can_do_nothing() -> None:
    parser = Parser()
    with Path("/usr/lib/x86_64-linux-gnu/libssl.so.3").open("rb") as file:
        assert "SSL_write" in parser.parse(file).facts.functions  # it has come so far
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{parser.pid}/status").read_text().splitlines()
    )
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    parser.close()


def test_a_parser_that_is_killed_is_replaced(tmp_path: Path) -> None:
    parser = Parser()
    first = parser.pid
    os.kill(first, 9)
    path = tmp_path / "x"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        assert parser.parse(file).facts.detail.startswith("not readable as ELF")
    assert parser.pid != first
    parser.close()


def test_our_processes_are_not_in_the_session(tmp_path: Path) -> None:
    with Recording(tmp_path / "a.qtap") as recording:
        recording.stop()
    assert "qtapture.capture" not in run("info", "--json", tmp_path / "a.qtap")
