"""Connections that the recorder found open when it began, and that said nothing until its end.

Samples tell of sockets that do something. Of the others the snapshot alone knows: they are
listed too, as older than the recording, with whoever holds them.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from qtapture.reassembly.facts import number, text
from qtapture.reassembly.processes import ProcessKey
from qtapture.reassembly.rows import SocketKey, SocketRow

__all__ = ["MOST_IDLE", "Place", "holder", "is_open", "iter_idle", "place"]

# Network namespace, local address and port, peer's address and port.
Place = tuple[int, bytes, int, bytes, int]
# A host with more open connections than this has other troubles than a list of idle ones.
MOST_IDLE = 1_000_000
# What a process can still read from or write to.
_OPEN = frozenset({"ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT1", "FIN_WAIT2"})


def is_open(body: Mapping[str, Any]) -> bool:
    """Whether a SOCKET record is of a connection that may still speak."""
    return text(body, "state") in _OPEN and bool(number(body, "inode"))


def iter_idle(
    told: Iterable[tuple[int, Mapping[str, Any]]], known: Iterable[SocketRow]
) -> Iterable[SocketRow]:
    """Rows for sockets of the snapshot that no sample was about. ``told`` has time and body."""
    inodes = {row.inode for row in known if row.inode}
    for count, (time_ns, body) in enumerate(told):
        if number(body, "inode") in inodes:
            continue
        local, peer = _address(text(body, "local")), _address(text(body, "peer"))
        if not local or not peer:
            continue
        # No kernel address is 0: the key cannot be a real socket's.
        key: SocketKey = (0, count)
        yield SocketRow(
            key=key,
            first_ns=time_ns,
            last_ns=time_ns,
            local=local,
            peer=peer,
            local_port=number(body, "local_port") & 0xFFFF,
            peer_port=number(body, "peer_port") & 0xFFFF,
            netns=number(body, "netns"),
            inode=number(body, "inode"),
            older=True,
            owner=holder(body),
        )


def place(body: Mapping[str, Any]) -> Place:
    """Where a SOCKET record's connection is, in the form of a row's."""
    return (
        number(body, "netns"),
        _address(text(body, "local")),
        number(body, "local_port"),
        _address(text(body, "peer")),
        number(body, "peer_port"),
    )


def holder(body: Mapping[str, Any]) -> ProcessKey:
    """The first process that a SOCKET record names, (0, 0) for none."""
    owners = body.get("owners")
    first = owners[0] if isinstance(owners, list) and owners else None
    if not isinstance(first, dict):
        return (0, 0)
    return number(first, "pid"), number(first, "start_ticks")


def _address(shown: str) -> bytes:
    try:
        return ipaddress.ip_address(shown).packed
    except ValueError:
        return b""  # not what our recorder writes
