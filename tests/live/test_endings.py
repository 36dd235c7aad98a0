"""How a recording begins and ends: signals, limits, COMMAND's status, errors in one line."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders.certificates import make_certificate
from builders.programs import tls_writer
from builders.recording import Recording, qtapture, record_command, run

from qtapture.session import open_session, verify_session


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_file_properly(tmp_path: Path, number: signal.Signals) -> None:
    with Recording(tmp_path / "a.qtap") as recording:
        recorded = recording.stop(number)
    assert recorded.status == 0
    assert recorded.chain_head in run("verify", recorded.session)
    assert stat.S_IMODE(recorded.session.stat().st_mode) == 0o600


def test_the_end_of_the_duration_closes_the_file_properly(tmp_path: Path) -> None:
    with Recording(tmp_path / "a.qtap", ("--duration", "300ms")) as recording:
        recorded = recording.end()
    assert recorded.status == 0
    assert "ended by duration" in recorded.stderr
    run("verify", recorded.session)


def test_the_size_limit_ends_the_recording_but_not_the_command(tmp_path: Path) -> None:
    marker = tmp_path / "done"
    script = f"for i in $(seq 300); do /bin/true; done; sleep 0.5; touch {marker}; exit 7"
    options = ("--max-size", "8k")
    result = record_command(tmp_path, "/bin/sh", "-c", script, options=options)
    assert "ended by max-size" in result.stderr
    assert marker.exists()
    assert result.status == 7
    run("verify", result.session)


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", 128 + 15)]
)
def test_the_status_of_the_command_is_ours(tmp_path: Path, script: str, status: int) -> None:
    result = record_command(tmp_path, "/bin/sh", "-c", script)
    assert result.status == status
    run("verify", result.session)


def test_a_command_that_is_not_there_is_127_and_one_that_cannot_run_126(tmp_path: Path) -> None:
    missing = record_command(tmp_path, tmp_path / "missing")
    assert missing.status == 127
    assert "No such file or directory" in missing.stderr
    plain = tmp_path / "plain"
    plain.write_text("no program")
    assert record_command(tmp_path, plain).status == 126


def test_output_of_the_command_is_its_own(tmp_path: Path) -> None:
    result = record_command(tmp_path, "/bin/sh", "-c", "echo out; echo err >&2")
    assert result.stdout == "out\n"
    assert "err\n" in result.stderr


def test_a_session_on_stdout_is_alone_there(tmp_path: Path) -> None:
    path = tmp_path / "stdout.qtap"
    with path.open("wb") as file:
        result = subprocess.run(
            qtapture("record", "-o", "-", "--", "/bin/echo", "hello"),
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 0
    assert "hello\n" in result.stderr
    run("verify", path)


def test_the_name_of_the_file_is_host_and_time_where_none_is_given(tmp_path: Path) -> None:
    subprocess.run(
        [*qtapture("record", "--duration", "100ms")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
        capture_output=True,
    )
    (made,) = tmp_path.iterdir()
    assert made.name.startswith(os.uname().nodename)
    assert made.suffix == ".qtap"


def test_an_existing_file_is_kept_and_force_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "a.qtap"
    path.write_text("evidence")
    refused = one_line("record", "-o", path, status=2)
    assert "exists" in refused
    assert path.read_text() == "evidence"
    with Recording(path, ("--force", "--duration", "100ms")) as recording:
        recording.end()
    run("verify", path)


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    assert "No such file or directory" in one_line("record", "-o", tmp_path / "no/a", status=2)
    assert "is a folder" in one_line("record", "-o", tmp_path, status=2)


def test_an_unknown_process_or_user_is_named(tmp_path: Path) -> None:
    out = tmp_path / "a.qtap"
    assert "no process 4194305" in one_line("record", "-o", out, "--pid", 4194305, status=2)
    assert "no user nobody-here" in one_line("record", "-o", out, "--user", "nobody-here", status=2)
    assert not out.exists()


# As somebody who can read the program, wherever this checkout lies: imported first, then nobody.
_AS_NOBODY = """
import contextlib, io, os, sys
import qtapture.record, qtapture.capture.loader
from qtapture.cli.app import run
with contextlib.redirect_stdout(io.StringIO()):
    run(["record", "--help"])
os.setgroups([])
os.setuid(65534)
sys.exit(run(sys.argv[1:]))
"""


def test_not_being_root_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _AS_NOBODY, "record", "-o", str(tmp_path / "a")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert result.stderr.startswith("qtapture: ")
    assert "root" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_who_asks_for_bcc_where_it_is_not_is_told_what_to_install(tmp_path: Path) -> None:
    # A mount of its own hides the package from this process alone.
    script = 'mount -t tmpfs none /usr/lib/python3/dist-packages/bcc && exec "$@"'
    command = qtapture("record", "--loader", "bcc", "-o", tmp_path / "a.qtap")
    result = subprocess.run(
        ["unshare", "-m", "/bin/sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 3
    assert "python3-bpfcc" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "a.qtap").exists()


def test_what_is_no_session_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no session\n" * 1000)
    for command in ("info", "verify", "replay"):
        assert str(path) in one_line(command, path, status=4)


def test_a_truncated_session_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    result = record_command(tmp_path, "/bin/true")
    whole = result.session.read_bytes()
    cut = tmp_path / "cut.qtap"
    cut.write_bytes(whole[: len(whole) - 200])
    assert "never closed" in one_line("info", cut, status=1)
    with pytest.raises(AssertionError):
        run("verify", cut)


def test_samples_of_an_exec_half_a_second_ago_survive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "killed.qtap"
    with Recording(path) as recording:
        subprocess.run(["/bin/echo", "a-marker-in-arguments"], check=True, capture_output=True)
        time.sleep(1)  # twice what is promised: hosts of tests are busy
        recording.process.kill()
        recording.process.wait()
    reader = open_session(path)
    assert not reader.closed
    slices = [bytes(r.data) for r in reader.iter_records() if hasattr(r, "ring")]
    assert any(b"a-marker-in-arguments" in data for data in slices)


def one_line(*arguments: object, status: int) -> str:
    """What a command says on stderr when it fails: exactly one line."""
    result = subprocess.run(qtapture(*arguments), capture_output=True, text=True, check=False)
    assert result.returncode == status, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("qtapture: ")
    return result.stderr


def test_a_full_disk_ends_the_recording_properly_and_says_so(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "none", small], check=True)
    try:
        # A tenth is to stay free: what is in rings and queue still fits when that is touched.
        subprocess.run(["fallocate", "-l", "113M", small / "filler"], check=True)
        script = "for i in $(seq 800); do /bin/true $(head -c 9000 /dev/urandom | base64); done"
        result = record_command(small, "/bin/sh", "-c", script, options=("--memory", "2M"))
        assert "ended by disk" in result.stderr
        assert result.status == 125
        run("verify", result.session)
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_disk_that_fills_at_once_leaves_whole_chunks_and_says_so(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", small], check=True)
    try:
        # Faster than the disk is looked at: its last tenth is gone before.
        program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
        argv = (program, 4_000, 65_536, 0, certificate.path, certificate.key)
        result = record_command(small, *argv, options=("--max-size", "0"))
        assert "No space left on device: the session was not closed" in result.stderr
        assert result.status == 125
        found = verify_session(result.session)
        assert found.state == "unclosed"
        assert found.findings == ()
        assert found.chunks > 3
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_terminal_sees_a_status_line(tmp_path: Path) -> None:
    command = " ".join(qtapture("record", "-o", tmp_path / "a.qtap", "--duration", "1200ms"))
    result = subprocess.run(
        ["script", "-qec", command, "/dev/null"], capture_output=True, text=True, check=True
    )
    assert "decrypted traffic" in result.stdout
    assert re.search(r"00:00:0\d  [\d,]+ events  .* lost  file ", result.stdout)


def test_systemd_is_told_when_everything_is_hooked(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unit:
        unit.bind(str(tmp_path / "notify"))
        unit.settimeout(30)
        process = subprocess.Popen(
            qtapture("record", "-o", tmp_path / "a.qtap", "--duration", "100ms"),
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stderr=subprocess.DEVNULL,
        )
        assert unit.recv(64) == b"READY=1"
        assert process.wait(60) == 0


def test_whoever_reads_the_session_from_stdout_is_not_in_it(tmp_path: Path) -> None:
    path = tmp_path / "piped.qtap"
    record = " ".join(qtapture("record", "-o", "-", "--duration", "700ms"))
    # Each chunk that is read starts a process, which would be recorded, and written, and read.
    loop = "while head -c 4096 | grep -q .; do :; done"
    script = f"{record} 2>/dev/null | tee {path} | sh -c '{loop}'"
    subprocess.run(["/bin/sh", "-c", script], check=False, timeout=60)
    run("verify", path)
    info = json.loads(run("info", "--json", path))
    assert not [p for p in info["processes"] if p["comm"] == "tee"]
