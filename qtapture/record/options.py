"""What one recording is asked to do, checked."""

import os
import pwd
import re
from dataclasses import dataclass, field
from pathlib import Path

from qtapture.capture.features import ATTACHES, HOOKS, LOADERS, SITES, WISHES, Means
from qtapture.capture.kernel_config import Scope
from qtapture.capture.probes import DEFAULT_MEMORY
from qtapture.errors import UsageError

__all__ = ["RecordOptions", "parse_duration", "parse_size", "parse_user"]

_UNITS_NS = {"": 10**9, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_UNITS_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", re.IGNORECASE)
_LARGEST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """``output`` None is stdout. ``max_size`` None chooses by the disk, 0 is no limit."""

    output: Path | None
    scope: Scope = field(default_factory=Scope)
    command: tuple[str, ...] = ()
    duration_ns: int | None = None
    max_size: int | None = None
    memory: int = DEFAULT_MEMORY
    means: Means = WISHES
    without: frozenset[str] = frozenset()  # features that count as absent
    force: bool = False
    argv: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise for what cannot be, before anything is begun.

        Raises:
            UsageError: an unknown pid, a port that is none.
        """
        for pid in self.scope.pids:
            if pid <= 0 or not os.path.exists(f"/proc/{pid}"):  # noqa: PTH110 - no pathlib on a hot start
                raise UsageError(f"no process {pid}")
        for port in self.scope.ports:
            if not 0 < port <= _LARGEST_PORT:
                raise UsageError(f"{port} is no port")
        wishes = (
            ("--loader", self.means.loader, LOADERS),
            ("--attach", self.means.attach, ATTACHES),
            ("--hooks", self.means.hooks, HOOKS),
            ("--sites", self.means.sites, SITES),
        )
        for option, wish, known in wishes:
            if wish not in known:
                raise UsageError(f"{option} {wish}: one of {', '.join(known)}")


def parse_duration(text: str) -> int:
    """``30``, ``30s``, ``5m``, ``1.5h`` as nanoseconds.

    Raises:
        UsageError: it is none of these, or zero.
    """
    return _quantity(text, _UNITS_NS, "a duration, as 30s, 5m or 1h")


def parse_size(text: str) -> int:
    """``500M``, ``4G`` as bytes (powers of 1024); 0 is 0.

    Raises:
        UsageError: it is no size.
    """
    if text.strip() == "0":
        return 0
    units = {**_UNITS_BYTES, **{f"{unit}b": size for unit, size in _UNITS_BYTES.items()}}
    units |= {f"{unit}ib": size for unit, size in _UNITS_BYTES.items() if unit}
    return _quantity(text, units, "a size, as 500M or 4G")


def parse_user(text: str) -> int:
    """A user's name or number as uid.

    Raises:
        UsageError: there is no such user.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except KeyError:
        raise UsageError(f"no user {text}") from None


def _quantity(text: str, units: dict[str, int], what: str) -> int:
    match = _QUANTITY.fullmatch(text.strip())
    unit = units.get(match[2].lower()) if match else None
    if match is None or unit is None or not float(match[1]):
        raise UsageError(f"{text} is not {what}")
    return int(float(match[1]) * unit)
