"""Probes in programs: multi links where the kernel has them, else one perf event each."""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from qtapture.capture.bpf import attach_perf_event, attach_uprobe_multi
from qtapture.capture.rings import perf_event_open

__all__ = ["DETACH_SECONDS", "attach_uprobes", "has_perf_uprobes"]

# Taking one perf uprobe out waits for a grace period of the kernel's (measured: 105 ms each).
DETACH_SECONDS = 0.105
_PMU = Path("/sys/bus/event_source/devices/uprobe")
_IOC_SET_BPF = 0x40042408  # PERF_EVENT_IOC_SET_BPF
_IOC_ENABLE = 0x2400
_ATTR_SIZE = 128
_NO_LINKS = frozenset({errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP})


def has_perf_uprobes() -> bool:
    """Whether the kernel takes uprobes as perf events (Linux 4.17)."""
    return (_PMU / "type").exists()


def attach_uprobes(
    kind: str, program: int, path: str, offsets: Sequence[int], cookie: int, *, at_return: bool
) -> list[int]:
    """Run a program at file offsets of one inode; the probes end when the descriptors close.

    ``kind``: multi or perf (one probe for each offset, and no cookie before Linux 5.15).

    Raises:
        OSError: an offset cannot be probed; then none is.
    """
    if kind == "multi":
        return [attach_uprobe_multi(program, path, offsets, cookie, at_return=at_return)]
    descriptors: list[int] = []
    try:
        for offset in offsets:
            event = _open_event(path, offset, at_return=at_return)
            descriptors.append(event)
            descriptors += _run_at(event, program, cookie)
    except OSError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return descriptors


def _open_event(path: str, offset: int, *, at_return: bool) -> int:
    name = ctypes.create_string_buffer(os.fsencode(path))
    kind = int((_PMU / "type").read_text("ascii"))
    # struct perf_event_attr up to config1 (the path) and config2 (the offset).
    attributes = struct.pack(
        "<IIQQQQQIIQQ",
        *(kind, _ATTR_SIZE, int(at_return), 0, 0, 0, 0, 0, 0, ctypes.addressof(name), offset),
    ).ljust(_ATTR_SIZE, b"\0")
    # One CPU's event: its programs run for every hit, on whichever CPU.
    return perf_event_open(attributes, 0)


def _run_at(event: int, program: int, cookie: int) -> list[int]:
    """The link, or none where the event itself had to take the program."""
    try:
        return [attach_perf_event(program, event, cookie)]
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    fcntl.ioctl(event, _IOC_SET_BPF, program)
    fcntl.ioctl(event, _IOC_ENABLE, 0)
    return []
