"""What we record is what nginx and its clients say that was said."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from builders.clients import asyncio_python, blocking_python, curl
from builders.nginx import Nginx
from builders.recording import Recording, record_command, run, run_client
from builders.replays import Seen, exchanges

from qtapture.analysis import open_analysis
from qtapture.events import Verdict
from qtapture.session import open_session


def as_logged(nginx: Nginx) -> list[tuple[str, str, int, int]]:
    """The access log's view."""
    return sorted(
        (row["method"], row["uri"], row["status"], row["body_bytes"]) for row in nginx.rows()
    )


def as_seen(found: list[Seen]) -> list[tuple[str, str, int, int]]:
    """Ours, in the same form. Bodies in these tests are not content-coded."""
    return sorted((seen.method, seen.target, seen.status, len(seen.body)) for seen in found)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_curl_is_recorded_from_the_first_byte_of_its_first_connection(
    nginx: Nginx, tmp_path: Path, scheme: str
) -> None:
    urls = [nginx.url("one.bin", scheme), nginx.url("page.txt", scheme), nginx.url("no", scheme)]
    result = record_command(tmp_path, *curl(nginx.certificate.path, *urls))
    assert result.status == 0
    found = exchanges(result.session)
    assert as_seen(found) == as_logged(nginx)
    assert {seen.client for seen in found} == {"curl"}
    (connection,) = open_analysis(result.session).tables.connections
    assert connection.verdict is Verdict.COMPLETE
    assert not connection.older


def test_a_blocking_python_client_is_recorded(nginx: Nginx, tmp_path: Path) -> None:
    ca, port = nginx.certificate.path, nginx.https
    client = blocking_python(tmp_path, ca, port, "/page.txt", "/one.bin")
    result = record_command(tmp_path, *client)
    assert result.stdout.split() == ["700", "1"]
    assert as_seen(exchanges(result.session)) == as_logged(nginx)


def test_forty_asyncio_clients_of_one_process_keep_their_own_bytes(
    nginx: Nginx, tmp_path: Path
) -> None:
    for number in range(40):
        nginx.serve(f"file-{number}.bin", os.urandom(2000 + 977 * number))
    ca, port = nginx.certificate.path, nginx.https
    client = asyncio_python(tmp_path, ca, port, 40, "/file-N.bin")
    result = record_command(tmp_path, *client)
    expected = {
        f"/file-{number}.bin": digest
        for number, _, digest in (line.split() for line in result.stdout.splitlines())
    }
    found = exchanges(result.session)
    assert {seen.target: seen.digest for seen in found} == expected
    assert len({seen.connection for seen in found}) == 40
    verdicts = {c.verdict for c in open_analysis(result.session).tables.connections}
    assert verdicts == {Verdict.COMPLETE}


def test_the_whole_host_shows_each_exchange_once_with_both_processes(
    nginx: Nginx, tmp_path: Path
) -> None:
    ca = nginx.certificate.path
    with Recording(tmp_path / "host.qtap") as recording:
        for scheme in ("https", "http"):
            for name in ("one.bin", "page.txt"):
                run_client(curl(ca, nginx.url(name, scheme)))
        run_client(asyncio_python(tmp_path, ca, nginx.https, 5, "/page.txt?N"))
        recorded = recording.stop()
    assert recorded.status == 0
    mine = [seen for seen in exchanges(recorded.session) if seen.server == "nginx"]
    assert as_seen(mine) == as_logged(nginx)
    assert {seen.client for seen in mine} == {"curl", "python3"}
    assert all(seen.complete for seen in mine)


@pytest.mark.parametrize("way", ["pid", "comm", "port"])
def test_a_scope_that_names_the_server_has_the_same_exchanges(
    nginx: Nginx, tmp_path: Path, way: str
) -> None:
    value = {"pid": nginx.worker(), "comm": "nginx", "port": nginx.https}[way]
    with Recording(tmp_path / "scoped.qtap", (f"--{way}", value)) as recording:
        run_client(curl(nginx.certificate.path, nginx.url("one.bin"), nginx.url("page.txt")))
        recorded = recording.stop()
    assert as_seen(exchanges(recorded.session)) == as_logged(nginx)


def test_a_user_scope_has_that_users_programs_alone(nginx: Nginx, tmp_path: Path) -> None:
    ca = nginx.certificate.path
    ca.chmod(0o644)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    with Recording(tmp_path / "user.qtap", ("--user", "nobody")) as recording:
        run_client(curl(ca, nginx.url("one.bin")))
        run_client(["setpriv", "--reuid=65534", "--clear-groups", *curl(ca, nginx.url("page.txt"))])
        recorded = recording.stop()
    (seen,) = exchanges(recorded.session)
    assert seen.target == "/page.txt"
    info = json.loads(run("info", "--json", recorded.session))
    assert {process["uid"] for process in info["processes"] if process["comm"] == "curl"} == {65534}


def test_a_connection_that_was_open_before_is_in_the_file_and_marked(
    nginx: Nginx, tmp_path: Path
) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", nginx.http)) as idle:
        here = idle.getsockname()[1]
        with Recording(tmp_path / "older.qtap") as recording:
            recorded = recording.stop()
    tables = open_analysis(recorded.session).tables
    (connection,) = [c for c in tables.connections if c.client and c.client.port == here]
    assert connection.older
    assert connection.client_process is not None
    assert connection.client_process.pid == os.getpid()


def test_a_port_scope_leaves_out_what_speaks_elsewhere(nginx: Nginx, tmp_path: Path) -> None:
    ca = nginx.certificate.path
    with Nginx.prepare(tmp_path / "other") as other:
        other.serve("secret.txt", b"not asked for")
        with Recording(tmp_path / "port.qtap", ("--port", nginx.https)) as recording:
            run_client(curl(other.certificate.path, other.url("secret.txt")))
            run_client(curl(ca, other.url("secret.txt", "http")))
            run_client(curl(ca, nginx.url("one.bin")))
            recorded = recording.stop()
    (connection,) = open_analysis(recorded.session).tables.connections
    assert connection.server is not None
    assert connection.server.port == nginx.https
    assert connection.verdict is Verdict.COMPLETE
    slices = [
        bytes(r.data) for r in open_session(recorded.session).iter_records() if hasattr(r, "ring")
    ]
    assert not any(b"not asked for" in data for data in slices)


def test_a_program_that_speaks_tls_through_a_bio_is_seen(nginx: Nginx, tmp_path: Path) -> None:
    """BIO_f_ssl calls what SSL_read calls, never SSL_read itself: openssl s_server -www."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pair = ("-cert", nginx.certificate.path, "-key", nginx.certificate.key)
    command = ["openssl", "s_server", "-www", "-quiet", "-accept", str(port), *map(str, pair)]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as server,
        Recording(tmp_path / "a.qtap", ("--pid", server.pid)) as recording,
    ):
        run_client([*curl(nginx.certificate.path), "--http1.0", f"https://localhost:{port}/"])
        recording.stop()
        server.kill()
    (seen,) = exchanges(tmp_path / "a.qtap")
    assert (seen.method, seen.target, seen.status) == ("GET", "/", 200)
    assert b"s_server" in seen.body
