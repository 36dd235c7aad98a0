"""What a person sees while a recording runs: one line on a terminal, rewritten in place."""

import sys
from dataclasses import dataclass

from qtapture.timebase import boottime_ns

__all__ = ["StatusLine", "human_size", "say"]

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


def human_size(size: int) -> str:
    """``3.4 MiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} TiB"
