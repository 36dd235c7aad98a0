"""What a guest does: records one HTTPS exchange in each way, and writes what came of it.

Run as ``inside.py RESULTS``: one JSON object, by way, into that file.
"""

import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from builders.clients import curl  # noqa: E402
from builders.nginx import Nginx  # noqa: E402
from builders.recording import Recorded, record_command  # noqa: E402
from builders.replays import exchanges  # noqa: E402

from qtapture.analysis import open_analysis  # noqa: E402
from qtapture.capture.features import detect_features  # noqa: E402
from qtapture.session import open_session  # noqa: E402

WAYS: dict[str, tuple[str, ...]] = {
    "bcc": ("--loader", "bcc"),
    "core": ("--loader", "core"),
    "core, exported": ("--loader", "core", "--sites", "exported"),
    "bcc, perf": ("--loader", "bcc", "--attach", "perf"),
    "core, perf": ("--loader", "core", "--attach", "perf"),
    "bcc, syscalls": ("--loader", "bcc", "--hooks", "syscalls"),
    "core, syscalls": ("--loader", "core", "--hooks", "syscalls"),
    "core, no cookie": ("--loader", "core", "--without", "cookie"),
    "core, no atomics": ("--loader", "core", "--without", "atomics"),
    "core, no ring losses": ("--loader", "core", "--without", "ring_losses"),
}
PAGE = b"a page\n" * 3000


def main(results: Path) -> None:
    """Record in every way, and once with TLS in the kernel."""
    features = detect_features()
    rows: dict[str, Any] = {
        "kernel": platform.release(),
        "features": {name: getattr(features, name) for name in features.__dataclass_fields__},
        "ways": {},
    }
    folder = Path(tempfile.mkdtemp())
    server = Nginx.prepare(folder / "nginx")
    server.serve("page.txt", PAGE)
    with server:
        for way, options in WAYS.items():
            rows["ways"][way] = _tried(server, folder, options)
            results.write_text(json.dumps(rows))
    rows["ktls"] = _in_the_kernel(folder)
    results.write_text(json.dumps(rows))


def _tried(server: Nginx, folder: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """What one recording says, or why there is none."""
    command = curl(server.certificate.path, server.url("page.txt"))
    made = record_command(folder, *command, options=(*options, "--max-size", "0"))
    if made.status:
        return {"status": made.status, "stderr": made.stderr[-500:]}
    return _said(made)


def _said(made: Recorded) -> dict[str, Any]:
    header = open_session(made.session).header
    analysis = open_analysis(made.session)
    found = exchanges(made.session)
    made.session.unlink()
    return {
        "status": 0,
        "loader": header["loader"],
        "attach": header["attach"],
        "hooks": header["hooks"],
        "refused": header["refused"],
        "exchanges": [(seen.method, seen.status, seen.body == PAGE) for seen in found],
        "verdicts": [
            {"verdict": c.verdict, "reasons": sorted({reason.code for reason in c.reasons})}
            for c in analysis.tables.connections
        ],
    }


def _in_the_kernel(folder: Path) -> dict[str, Any]:
    """Two ends of a connection hand their keys to the kernel: what they say is seen as well."""
    if not Path("/proc/net/tls_stat").exists():
        return {"absent": True}
    program = [sys.executable, str(HERE / "ktls.py")]
    made = record_command(folder, *program, options=("--max-size", "0"))
    if made.status:
        return {"status": made.status, "stderr": made.stderr[-500:]}
    analysis = open_analysis(made.session)
    said = _said(made)
    said["bytes"] = [
        (connection.bytes_c2s, connection.bytes_s2c) for connection in analysis.tables.connections
    ]
    said["tls_stat"] = Path("/proc/net/tls_stat").read_text().split()
    return said


if __name__ == "__main__":
    main(Path(sys.argv[1]))
