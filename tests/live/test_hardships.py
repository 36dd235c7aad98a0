"""What goes wrong around a recording: too much, too slow, no disk. The account stays true."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.certificates import make_certificate
from builders.clients import curl
from builders.nginx import Nginx
from builders.programs import said_numbers, tls_writer
from builders.recording import Recorded, Recording, record_command, run, run_client
from builders.replays import exchanges
from builders.scale import scaled

from qtapture.session import verify_session

RESPONSES = 160
SIZE = 96 << 10


def losses(session: Path) -> dict[str, dict[str, int]]:
    """The account of `info`, each line of which adds up."""
    rows = json.loads(run("info", "--json", session))["loss"]
    for row in rows:
        assert row["adds_up"], row
    return {row["kind"]: row for row in rows}


@pytest.mark.parametrize("pause", [0, 1])
def test_many_large_answers_over_one_connection_are_all_there(
    nginx: Nginx, tmp_path: Path, pause: int
) -> None:
    """Also when the recording is stopped right after the last one."""
    body = os.urandom(SIZE)
    nginx.serve("large.bin", body)
    urls = [f"{nginx.url('large.bin')}?{number}" for number in range(RESPONSES)]
    with Recording(tmp_path / "a.qtap") as recording:
        run_client([*curl(nginx.certificate.path), *outputs(urls)])
        time.sleep(pause)
        recording.stop()
    wanted = hashlib.sha256(body).hexdigest()
    found = [seen for seen in exchanges(recording.session) if seen.client == "curl"]
    assert [seen.digest for seen in found] == [wanted] * RESPONSES
    assert sum(row["lost"] + row["skipped"] for row in losses(recording.session).values()) == 0


def outputs(urls: list[str]) -> list[object]:
    """curl's arguments that throw each body away."""
    return [word for url in urls for word in ("-o", "/dev/null", url)]


def test_a_steady_load_of_small_calls_is_accounted_for(tmp_path: Path) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    rate, seconds = scaled((20_000, 5), (50_000, 30))
    argv = (program, rate * seconds, 200, rate, certificate.path, certificate.key)
    result = record_command(tmp_path, *argv)
    said = said_numbers(result.stdout)
    rows = losses(result.session)
    assert rows["tls"]["submitted"] + rows["tls"]["skipped"] == said["writes"] + said["reads"]
    assert rows["control"]["lost"] == 0


def test_a_recorder_that_is_stopped_for_seconds_counts_what_it_missed(tmp_path: Path) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    argv = [program, "200000", "200", "20000", certificate.path, certificate.key]
    options = ("--memory", f"{2 * (os.cpu_count() or 1)}M", "--comm", program.name)
    with Recording(tmp_path / "a.qtap", options) as recording:
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
            time.sleep(1)
            recording.process.send_signal(signal.SIGSTOP)
            time.sleep(5)
            recording.process.send_signal(signal.SIGCONT)
            said = said_numbers(writer.communicate()[0])
        assert recording.stop().status == 0
    rows = losses(recording.session)
    assert rows["tls"]["lost"] > 0
    assert rows["tls"]["submitted"] == said["writes"] + said["reads"]
    assert rows["control"]["lost"] == 0
    (connection,) = json.loads(run("info", "--json", recording.session))["connections"]
    assert connection["verdict"] == "partial"
    assert {reason["code"] for reason in connection["reasons"]} == {"lost_samples"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small ext4 file system of its own."""
    image, folder = tmp_path / "disk.img", tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["truncate", "-s", "256M", image], check=True)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def ended_by_the_disk(recorded: Recorded, words: str) -> None:
    """One clear line, a status, and a file that is whole as far as it goes."""
    assert words in recorded.stderr
    assert "Traceback" not in recorded.stderr
    assert recorded.status == 1
    found = verify_session(recorded.session)
    assert found.state == "unclosed"
    assert {finding.code for finding in found.findings} <= {"truncated"}
    assert found.chunks > 3


def test_a_file_system_that_becomes_read_only_ends_the_recording(
    disk: Path, tmp_path: Path
) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    argv = [program, "60000", "200", "20000", certificate.path, certificate.key]
    with (
        Recording(disk / "a.qtap", ("--comm", program.name)) as recording,
        subprocess.Popen(argv, stdout=subprocess.DEVNULL),
    ):
        time.sleep(1.5)
        subprocess.run(["mount", "-o", "remount,abort", disk], check=True)
        recorded = recording.end()
    ended_by_the_disk(recorded, "Read-only file system")


def test_a_disk_that_is_full_ends_the_recording(disk: Path, tmp_path: Path) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    argv = [program, "100000", "16384", "0", certificate.path, certificate.key]
    with (
        Recording(disk / "a.qtap", ("--comm", program.name, "--max-size", "0")) as recording,
        subprocess.Popen(argv, stdout=subprocess.DEVNULL),
    ):
        subprocess.run(["fallocate", "-l", "200M", disk / "other"], check=True)
        recorded = recording.end()
    assert recorded.status == 1
    assert "disk" in recorded.stderr or "No space left" in recorded.stderr
    assert verify_session(recorded.session).findings == ()
