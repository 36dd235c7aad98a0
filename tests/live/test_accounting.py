"""Every sample is in the file or counted as lost, whatever the load."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from builders.certificates import make_certificate
from builders.programs import said_numbers, tls_writer
from builders.recording import Recorded, Recording, record_command, resident_bytes, run, wait_until
from builders.scale import scaled

MIB = 1 << 20
# A client that may not block sends 4 MiB to a server that is in no hurry.
RETRIES = """
import hashlib, os, select, socket, ssl, sys, threading, time
certificate, key = sys.argv[1:]
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.1", 0))

def serve():
    end = server.wrap_socket(listener.accept()[0], server_side=True)
    time.sleep(0.2)
    while end.recv(65536):
        time.sleep(0.0005)

threading.Thread(target=serve).start()
client = ssl.create_default_context(cafile=certificate)
client.check_hostname = False
plain = socket.socket()
plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
plain.connect(listener.getsockname())
end = client.wrap_socket(plain)
end.setblocking(False)
data = os.urandom(4 << 20)
left, tries = memoryview(data), 0
while left:
    try:
        left = left[end.send(left):]
    except ssl.SSLWantWriteError:
        tries += 1
        select.select([], [end], [])
end.setblocking(True)
end.close()
print(hashlib.sha256(data).hexdigest(), tries)
"""


def account(recorded: Recorded) -> dict[str, dict[str, int]]:
    """The loss table of `info`, by kind."""
    rows = json.loads(run("info", "--json", recorded.session))["loss"]
    for row in rows:
        assert row["adds_up"], row
        assert row["in_file"] + row["lost"] == row["submitted"]
    return {row["kind"]: row for row in rows}


def test_twenty_thousand_writes_a_second_for_ten_seconds_are_all_in_the_file(
    tmp_path: Path,
) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    argv = (program, 200_000, 200, 20_000, certificate.path, certificate.key)
    result = record_command(tmp_path, *argv)
    said = said_numbers(result.stdout)
    assert said["writes"] == 200_000
    rows = account(result)
    # Reads may take two writes at once: the program counted its own.
    assert rows["tls"]["submitted"] == said["writes"] + said["reads"]
    assert {kind: row["lost"] + row["skipped"] for kind, row in rows.items() if row["lost"]} == {}
    connections = json.loads(run("info", "--json", result.session))["connections"]
    (connection,) = connections
    assert connection["verdict"] == "complete"


def test_the_recorder_is_small_beside_its_rings(tmp_path: Path) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    argv = (program, 60_000, 200, 20_000, certificate.path, certificate.key)
    with Recording(tmp_path / "a.qtap", ("--", *argv)) as recording:
        pid = recording.process.pid
        peak = 0
        while recording.process.poll() is None:
            memory = resident_bytes(pid)
            # The rings are shared memory with the kernel.
            peak = max(peak, memory["anon"] + memory["file"])
            if not memory["anon"]:
                break
            wait_until(lambda: True, "a moment")
        recorded = recording.end()
    assert recorded.status == 0
    print(f"peak {peak // MIB} MiB")
    assert 0 < peak < 64 * MIB


@pytest.mark.parametrize("size", [200, 16_384])
def test_a_flood_as_fast_as_the_host_can_is_counted_exactly(tmp_path: Path, size: int) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    count = 100_000 if size == 200 else 20_000
    argv = (program, count, size, 0, certificate.path, certificate.key)
    # Rings of 2 MiB for each CPU: losses are likely, and must be exact.
    options = ("--memory", f"{2 * (os.cpu_count() or 1)}M")
    result = record_command(tmp_path, *argv, options=options)
    said = said_numbers(result.stdout)
    rows = account(result)
    assert rows["tls"]["submitted"] == said["writes"] + said["reads"]
    assert rows["control"]["lost"] == 0


def test_what_was_lost_is_an_exact_range_of_the_stream(tmp_path: Path) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    argv = (program, 20_000, 16_384, 0, certificate.path, certificate.key)
    options = ("--memory", "1M")
    result = record_command(tmp_path, *argv, options=options)
    rows = account(result)
    (connection,) = json.loads(run("info", "--json", result.session))["connections"]
    assert rows["tls"]["lost"] > 0, "the rings were too large to lose anything"
    assert connection["verdict"] == "partial"
    assert {reason["code"] for reason in connection["reasons"]} >= {"lost_samples"}


@pytest.mark.parametrize("size", [MIB + 1, 8 * MIB, 16 * MIB])
def test_a_large_call_is_whole(tmp_path: Path, size: int) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    argv = (program, 1, size, 0, certificate.path, certificate.key)
    result = record_command(tmp_path, *argv)
    (connection,) = json.loads(run("info", "--json", result.session))["connections"]
    assert connection["verdict"] == "complete", connection["reasons"]


def test_a_large_write_that_is_tried_again_has_each_byte_once(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    script = tmp_path / "again.py"
    script.write_text(RETRIES)
    result = record_command(tmp_path, "/usr/bin/python3", script, certificate.path, certificate.key)
    assert result.status == 0, result.stderr
    digest, tries = result.stdout.split()
    assert int(tries) > 3, "nothing was tried again"
    run("export", "streams", result.session, "-o", tmp_path / "out")
    sent = (tmp_path / "out" / "conn-1" / "c2s").read_bytes()
    assert len(sent) == 4 * MIB
    assert hashlib.sha256(sent).hexdigest() == digest


@pytest.mark.parametrize("size", [64 * MIB, scaled(128 * MIB, 1024 * MIB)])
def test_a_huge_call_is_whole_or_misses_exact_ranges(tmp_path: Path, size: int) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    argv = (program, 1, size, 0, certificate.path, certificate.key)
    result = record_command(tmp_path, *argv)
    rows = account(result)
    (connection,) = json.loads(run("info", "--json", result.session))["connections"]
    missing = [
        reason["end"] - reason["start"]
        for end in connection["endpoints"]
        for reason in end["reasons"]
        if reason["code"] == "lost_samples" and "end" in reason
    ]
    # Without an end where the last pieces of one end were lost.
    assert sum(missing) <= rows["tls"]["lost_bytes"]
    assert bool(connection["reasons"]) == (rows["tls"]["lost"] > 0)


def test_a_call_larger_than_the_rings_misses_an_exact_range(tmp_path: Path) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    size = 24 * MIB
    argv = (program, 1, size, 0, certificate.path, certificate.key)
    result = record_command(tmp_path, *argv, options=("--memory", "16M"))
    account(result)
    (connection,) = json.loads(run("info", "--json", result.session))["connections"]
    for reason in connection["reasons"]:
        assert reason["code"] in {"lost_samples", "call_too_large"}
        assert 0 <= reason["start"] < reason["end"] <= size
