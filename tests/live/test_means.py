"""Every way of recording sees the same: loaders, kinds of places, and each fallback.

Two recordings run at once over the same traffic, one of them the default.
"""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from builders.clients import asyncio_python, blocking_python, curl
from builders.nginx import Nginx
from builders.recording import Recording, qtapture, run_client

from qtapture.analysis import open_analysis
from qtapture.events import Exchange, Verdict
from qtapture.session import open_session

WAYS: dict[str, tuple[str, ...]] = {
    "core": ("--loader", "core"),
    "exported": ("--sites", "exported"),
    "syscalls": ("--hooks", "syscalls"),
    "perf": ("--attach", "perf"),
    "no cookie": ("--without", "cookie"),
    "no ring losses": ("--without", "ring_losses"),
    "old atomics by core": ("--loader", "core", "--without", "atomics"),
    "as on Linux 5.10": (
        *("--loader", "core", "--without", "atomics", "--without", "cookie"),
        *("--without", "socklen", "--without", "uprobe_multi", "--without", "ring_losses"),
    ),
}


def told(session: Path) -> list[dict[str, Any]]:
    """All exchanges without what differs between two recordings: times and numbers of ours."""
    rows = [
        _row(item) for item in open_analysis(session).iter_items() if isinstance(item, Exchange)
    ]
    return sorted(rows, key=lambda row: (row["client"], row["target"], row["method"]))


def _row(exchange: Exchange) -> dict[str, Any]:
    request, response, where = exchange.request, exchange.response, exchange.connection
    assert request is not None
    assert response is not None
    owner, other = where.client_process, where.server_process
    assert owner is not None
    assert other is not None
    row = {
        "method": request.method,
        "target": request.target,
        "request": request.headers,
        "status": response.status,
        "response": response.headers,
        "bodies": [
            hashlib.sha256(b"".join(message.body.iter_encoded())).hexdigest()
            for message in (request, response)
        ],
        "client": (str(where.client), owner.pid, owner.comm, owner.argv),
        "server": (str(where.server), other.pid, other.comm),
        "verdict": where.verdict,
        "reasons": where.reasons,
        "tls": where.tls and (where.tls.joined_by, where.tls.version, where.tls.server_name),
        "library": where.tls and where.tls.library and where.tls.library.path,
    }
    exchange.close()
    return row


def talk(nginx: Nginx, folder: Path) -> None:
    """One process of each kind, in the clear and over TLS, small and large."""
    ca = nginx.certificate.path
    nginx.serve("large.bin", bytes(range(256)) * 4096)
    for scheme in ("https", "http"):
        for name in ("one.bin", "page.txt", "large.bin"):
            run_client(curl(ca, nginx.url(name, scheme)))
    run_client([*curl(ca, nginx.url("page.txt")), "--data", "hello=" + "x" * 40_000])
    run_client(blocking_python(folder, ca, nginx.https, "/page.txt", "/one.bin"))
    run_client(asyncio_python(folder, ca, nginx.https, 8, "/large.bin?N"))


@pytest.mark.parametrize("way", WAYS)
def test_it_tells_the_same_as_the_default_at_the_same_time(
    nginx: Nginx, tmp_path: Path, way: str
) -> None:
    ports = ("--port", nginx.https, "--port", nginx.http)
    with (
        Recording(tmp_path / "default.qtap", ports) as default,
        Recording(tmp_path / "other.qtap", (*ports, *WAYS[way])) as other,
    ):
        talk(nginx, tmp_path)
        ended = other.stop()
        assert ended.status == 0
        assert ("taking the probes out" in ended.stderr) == ("perf" in way or "5.10" in way)
        assert default.stop().status == 0
    expected = told(tmp_path / "default.qtap")
    assert len(expected) == len(nginx.rows())
    assert told(tmp_path / "other.qtap") == expected


def test_the_session_says_how_it_was_made(nginx: Nginx, tmp_path: Path) -> None:
    options = ("--port", nginx.https, *WAYS["as on Linux 5.10"])
    with Recording(tmp_path / "old.qtap", options) as recording:
        run_client(curl(nginx.certificate.path, nginx.url("one.bin")))
        recording.stop()
    header = open_session(tmp_path / "old.qtap").header
    assert (header["loader"], header["attach"], header["hooks"]) == ("core", "perf", "syscalls")
    assert set(header["without"]) == {"COOKIE", "ATOMICS"}


def test_without_bcc_the_object_compiled_ahead_is_loaded(nginx: Nginx, tmp_path: Path) -> None:
    hide = 'mount -t tmpfs none /usr/lib/python3/dist-packages/bcc && exec "$@"'
    session = tmp_path / "core.qtap"
    run_client(
        [
            *("unshare", "-m", "/bin/sh", "-c", hide, "sh"),
            *qtapture("record", "-o", session, "--"),
            *curl(nginx.certificate.path, nginx.url("one.bin")),
        ]
    )
    assert open_session(session).header["loader"] == "core"
    (row,) = open_analysis(session).tables.connections
    assert row.verdict is Verdict.COMPLETE
