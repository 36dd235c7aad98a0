"""Recordings by the real program, as a user starts it."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

READY = "recording to "
SOURCE = Path(__file__).resolve().parents[2]  # the checkout
_SECONDS = 60


@dataclass(frozen=True)
class Recorded:
    """What one recording left behind."""

    session: Path
    status: int
    stdout: str
    stderr: str

    @property
    def chain_head(self) -> str:
        """As it was printed at the end."""
        return re.search(r"chain head ([0-9a-f]{64})", self.stderr)[1]


def record_command(folder: Path, *argv: object, options: tuple[object, ...] = ()) -> Recorded:
    """``qtapture record -o ... OPTIONS -- ARGV``, to its end."""
    session = folder / f"command-{time.monotonic_ns()}.qtap"
    result = subprocess.run(
        [*qtapture("record", "-o", session), *map(str, options), "--", *map(str, argv)],
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * _SECONDS,
    )
    return Recorded(session, result.returncode, result.stdout, result.stderr)


def qtapture(*arguments: object) -> list[str]:
    """The command line that runs this checkout's program."""
    return [sys.executable, "-m", "qtapture", *map(str, arguments)]


def run(*arguments: object, status: int = 0) -> str:
    """Run one command to its end; its standard output."""
    result = subprocess.run(
        qtapture(*arguments), capture_output=True, text=True, check=False, timeout=5 * _SECONDS
    )
    assert result.returncode == status, result.stderr
    return result.stdout


def run_client(command: list[object]) -> None:
    """Run a client to its end; it must have had its answer."""
    words = [str(word) for word in command]
    subprocess.run(words, check=True, capture_output=True, timeout=_SECONDS)


@dataclass
class Recording:
    """A recording that goes on while a test does something: a context manager."""

    session: Path
    options: tuple[object, ...] = ()
    prefix: tuple[str, ...] = ()  # a command that runs it, as setpriv
    process: subprocess.Popen[str] | None = None
    said: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        command = [*self.prefix, *qtapture("record", "-o", self.session, *self.options)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.wait_for(READY)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()
        self.process.stderr.close()

    def wait_for(self, words: str) -> None:
        """Until a line on stderr has these words."""
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            readable, _, _ = select.select([self.process.stderr], [], [], 1)
            line = self.process.stderr.readline() if readable else None
            if line == "":
                break
            if line is not None:
                self.said.append(line)
                if words in line:
                    return
        raise AssertionError(f"never said {words!r}: {self.said}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> Recorded:
        """End it with a signal."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> Recorded:
        """Wait until it has ended."""
        stdout, stderr = self.process.communicate(timeout=_SECONDS)
        self.said.append(stderr)
        return Recorded(self.session, self.process.returncode, stdout, "".join(self.said))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again, for as long as a slow host may need."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def resident_bytes(pid: int) -> dict[str, int]:
    """Memory of a process in bytes: anonymous, file-backed, shared (rings), and the peak."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    names = {"anon": "RssAnon", "file": "RssFile", "shared": "RssShmem", "peak": "VmHWM"}
    # A process that has ended and was not waited for has none of these rows.
    return {name: int(rows.get(row, "0 kB").split()[0]) * 1024 for name, row in names.items()}


def is_root() -> bool:
    """Whether live tests can run at all."""
    return os.geteuid() == 0
