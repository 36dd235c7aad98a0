"""Programs in C for live tests, compiled when they are needed."""

import subprocess
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "live" / "programs"


def build_program(name: str, folder: Path, *libraries: str) -> Path:
    """Compile tests/live/programs/NAME.c into a folder."""
    out = folder / name
    flags = [f"-l{library}" for library in libraries]
    subprocess.run(["gcc", "-O2", "-Wall", "-o", out, _FOLDER / f"{name}.c", *flags], check=True)
    return out


def tls_writer(folder: Path) -> Path:
    """Writes N times SIZE bytes over TLS to itself, RATE in a second."""
    return build_program("tls_writer", folder, "ssl", "crypto", "pthread")


def said_numbers(text: str) -> dict[str, float]:
    """``writes 5 bytes 10`` as a dict."""
    words = text.split()
    return {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}
