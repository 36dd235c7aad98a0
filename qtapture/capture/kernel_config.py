"""What user space tells the probes: flags, members and names, in the sizes of bpf/maps.h."""

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag

from qtapture.capture.bpf import Map
from qtapture.capture.job_control import SHELLS
from qtapture.errors import UsageError

__all__ = [
    "COUNT_KINDS",
    "JOB_CONTROL",
    "Flag",
    "Maps",
    "Member",
    "Scope",
    "add_member",
    "open_maps",
    "read_counts",
    "read_members",
    "write_scope",
]


Maps = dict[str, Map]  # by name


class Flag(IntFlag):
    """``qt_config.flags``."""

    ALL = 1
    USERS = 2
    COMMS = 4
    PORTS = 8
    STOP = 16
    NO_CHILDREN = 32


class Member(IntFlag):
    """What is known of one process."""

    IN = 1
    COMMAND = 2
    OUT = 4
    WATCHES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Who is recorded: all of them added up; nothing at all means the whole host.

    ``command``: what COMMAND does is recorded beside (or instead of) the rest.
    """

    pids: tuple[int, ...] = ()
    comms: tuple[str, ...] = ()
    uids: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()  # narrows: only sockets with such an end
    command: bool = False
    children: bool = True

    @property
    def whole_host(self) -> bool:
        """Nobody was named."""
        return not (self.pids or self.comms or self.uids or self.command)


# Key and value sizes of bpf/maps.h, and whether each CPU has its own value.
_SIZES: dict[str, tuple[int, int, bool]] = {
    "control": (4, 4, False),
    "payload": (4, 4, False),
    "secrets": (4, 4, False),
    "steer": (4, 4, False),
    "counts": (4, 48, True),
    "config": (4, 8, False),
    "members": (4, 4, False),
    "users": (4, 4, False),
    "comms": (16, 4, False),
    "ports": (4, 4, False),
    "decided": (16, 4, False),
    "watchers": (16, 4, False),
    "shells": (16, 4, False),
    "stopped": (4, 8, False),
    "sock_more": (4, 4, False),
    "tls_more": (4, 4, False),
}
# They wait for stopped children and then stop themselves, for they serve a terminal.
JOB_CONTROL = ("sudo", "doas", "su", "script", "screen", "tmux", "gdb", "strace")
COUNT_KINDS = 6  # QT_KIND_*: control, TLS, socket, socket heads, secrets, packets
_COUNTERS = 6  # members of struct qt_count
_COMM_SIZE = 16
_U32 = struct.Struct("<I")


def open_maps(descriptors: Mapping[str, int]) -> Maps:
    """The maps that user space talks to, by name."""
    return {
        name: Map(descriptors[name], key, value, per_cpu=per_cpu)
        for name, (key, value, per_cpu) in _SIZES.items()
        if name in descriptors
    }


def write_scope(maps: Maps, scope: Scope, *, stop: bool) -> None:
    """Tell the probes whom to record; from here on samples come.

    Raises:
        UsageError: more names than a map holds.
    """
    one = _U32.pack(1)
    rows = (
        ("users", [_U32.pack(uid) for uid in scope.uids]),
        ("comms", [_name(comm) for comm in scope.comms]),
        ("ports", [_U32.pack(port) for port in scope.ports]),
        ("watchers", [_name(name) for name in JOB_CONTROL]),
        ("shells", [_name(name) for name in SHELLS]),
    )
    try:
        for pid in scope.pids:
            add_member(maps, pid, Member.IN)
        for name, keys in rows:
            for key in keys:
                maps[name].set(key, one)
    except OSError as error:
        if error.errno != errno.E2BIG:
            raise
        raise UsageError("more names in the scope than the probes can hold (1024)") from None
    maps["config"].set(_U32.pack(0), struct.pack("<II", _flags(scope, stop=stop), 0))


def add_member(maps: Maps, pid: int, member: Member) -> None:
    """Say what one process is to the recording."""
    maps["members"].set(_U32.pack(pid), _U32.pack(member))


def read_members(maps: Maps) -> set[int]:
    """Processes that are in scope, by what the probes and we put down."""
    found: set[int] = set()
    for key in maps["members"].iter_keys():
        value = maps["members"].maybe_get(key)
        if value and _U32.unpack(value)[0] & Member.IN:
            found.add(int(_U32.unpack(key)[0]))
    return found


def read_counts(maps: Maps) -> list[tuple[int, ...]]:
    """struct qt_count of each kind, summed over CPUs."""
    totals: list[tuple[int, ...]] = []
    for kind in range(COUNT_KINDS):
        values = maps["counts"].per_cpu(_U32.pack(kind))
        rows = [struct.unpack(f"<{_COUNTERS}Q", value) for value in values]
        totals.append(tuple(map(sum, zip(*rows, strict=True))))
    return totals


def _flags(scope: Scope, *, stop: bool) -> Flag:
    flags = Flag(0)
    rows = (
        (Flag.ALL, scope.whole_host),
        (Flag.USERS, scope.uids),
        (Flag.COMMS, scope.comms),
        (Flag.PORTS, scope.ports),
        (Flag.STOP, stop),
        (Flag.NO_CHILDREN, not scope.children),
    )
    for flag, wanted in rows:
        if wanted:
            flags |= flag
    return flags


def _name(text: str) -> bytes:
    return text.encode()[: _COMM_SIZE - 1].ljust(_COMM_SIZE, b"\0")
