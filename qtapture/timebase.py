"""Clocks: the only module that reads one, and the only one that turns boot time into dates.

Samples carry CLOCK_BOOTTIME nanoseconds; wall time comes from anchors in the session.
"""

import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["Anchor", "Clock", "boottime_ns", "iso_utc", "read_anchor", "utc_stamp"]

_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The same moment on three clocks, in nanoseconds."""

    boottime_ns: int
    monotonic_ns: int
    realtime_ns: int


class Clock:
    """Boot time to wall time, by the anchors of one session (at least one)."""

    def __init__(self, anchors: Sequence[Anchor]) -> None:
        self._anchors = sorted(anchors, key=lambda a: a.boottime_ns)
        self._starts = [a.boottime_ns for a in self._anchors]

    def realtime_ns(self, time_ns: int) -> int:
        """Nanoseconds since the epoch of a boot time, by the newest anchor before it."""
        if not self._anchors:
            return time_ns
        at = max(bisect_right(self._starts, time_ns) - 1, 0)
        anchor = self._anchors[at]
        return anchor.realtime_ns + time_ns - anchor.boottime_ns


def boottime_ns() -> int:
    """CLOCK_BOOTTIME now."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def read_anchor() -> Anchor:
    """One moment on three clocks; boot time is read on both sides of the others."""
    before = boottime_ns()
    monotonic = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    realtime = time.clock_gettime_ns(time.CLOCK_REALTIME)
    middle = (before + boottime_ns()) // 2
    return Anchor(boottime_ns=middle, monotonic_ns=monotonic, realtime_ns=realtime)


def iso_utc(realtime_ns: int, *, suffix: str = "Z") -> str:
    """ISO 8601 with microseconds of nanoseconds since the epoch."""
    moment = _EPOCH + timedelta(microseconds=realtime_ns // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + suffix


def utc_stamp(realtime_ns: int) -> str:
    """``20261124T031500Z``, for file names."""
    return (_EPOCH + timedelta(seconds=realtime_ns // _NS)).strftime("%Y%m%dT%H%M%SZ")
