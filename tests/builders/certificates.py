"""A throw-away certificate for servers on the loopback interface."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """``path`` is also what clients trust."""

    path: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Self-signed, for localhost and 127.0.0.1."""
    found = Certificate(path=folder / "cert.pem", key=folder / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
            *("-keyout", found.key, "-out", found.path, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return found
