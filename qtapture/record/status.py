"""What a person sees while a recording runs: one line on a terminal, rewritten in place."""

import os
import socket
import sys
from dataclasses import dataclass

from qtapture.timebase import boottime_ns

__all__ = ["StatusLine", "human_size", "say", "tell_systemd"]

_EVERY_NS = 500_000_000
_NS = 1_000_000_000
_KIB = 1024
_CLEAR = "\r\x1b[K"


@dataclass(slots=True, kw_only=True)
class StatusLine:
    """``enabled``: stderr is a terminal."""

    started_ns: int
    enabled: bool
    next_ns: int = 0
    shown: bool = False

    def maybe_show(self, *, samples: int, payload: int, lost: int, size: int) -> None:
        """Show the figures, at most twice in a second."""
        now_ns = boottime_ns()
        if not self.enabled or now_ns < self.next_ns:
            return
        self.next_ns = now_ns + _EVERY_NS
        seconds = (now_ns - self.started_ns) // _NS
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        text = (
            f"{clock}  {samples:,} events  {human_size(payload)} seen  {lost:,} lost  "
            f"file {human_size(size)}"
        )
        self.shown = True
        _write(f"{_CLEAR}{text}")

    def clear(self) -> None:
        """Make room for other lines."""
        if self.shown:
            _write(_CLEAR)
            self.shown = False


def say(line: str) -> None:
    """One line of talk."""
    _write(f"{line}\n")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def tell_systemd() -> None:
    """READY=1 for a unit of Type=notify (sd_notify(3)); nothing where nobody asked."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as peer:
        try:
            # A leading @ stands for the NUL of an abstract address.
            peer.sendto(b"READY=1", address.replace("@", "\0", 1))
        except OSError as error:
            say(f"qtapture: systemd was not told: {error.strerror}")


def human_size(size: int) -> str:
    """``3.4 MiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} TiB"
