"""What ends a recording by itself: time, size, and a disk that fills up."""

import os
from dataclasses import dataclass

from qtapture.timebase import boottime_ns

__all__ = ["Limits", "choose_max_size"]

_DEFAULT_MAX_SIZE = 4 << 30
_SHARE_OF_SPACE = 4
# A host whose disk is full has a second incident: stop while there is still room.
_LEAST_SPACE = 1 << 30
_SMALL_DISK = 10 << 30
_LEAST_SHARE = 10  # per cent of a small file system


@dataclass(slots=True, kw_only=True)
class Limits:
    """``max_size`` 0 is none; ``disk`` is a descriptor on the file system, None for a pipe."""

    end_ns: int | None
    max_size: int
    disk: int | None

    def reached(self, size: int) -> str | None:
        """The word for the limit that is reached now, None for none."""
        if self.end_ns is not None and boottime_ns() >= self.end_ns:
            return "duration"
        if self.max_size and size >= self.max_size:
            return "max-size"
        if self.disk is not None and _is_full(self.disk):
            return "disk"
        return None


def choose_max_size(asked: int | None, descriptor: int | None) -> int:
    """The limit in bytes: as asked, else 4 GiB or a quarter of the space, whichever is less."""
    if asked is not None:
        return asked
    if descriptor is None:
        return 0  # a pipe: its reader decides
    status = os.fstatvfs(descriptor)
    return min(_DEFAULT_MAX_SIZE, status.f_bavail * status.f_frsize // _SHARE_OF_SPACE)


def _is_full(descriptor: int) -> bool:
    status = os.fstatvfs(descriptor)
    total = status.f_blocks * status.f_frsize
    least = _LEAST_SPACE if total >= _SMALL_DISK else total * _LEAST_SHARE // 100
    return status.f_bavail * status.f_frsize < least
