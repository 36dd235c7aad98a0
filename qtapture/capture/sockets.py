"""TCP sockets as /proc shows them, in every network namespace, with who holds them."""

import ipaddress
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from qtapture.capture.processes import ProcFacts

__all__ = ["iter_sockets", "network_namespaces"]

# include/net/tcp_states.h
_STATES = {
    1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT",
    7: "CLOSE", 8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING",
}  # fmt: skip
_LISTEN = "LISTEN"
_INODE_FIELD = 9
_WORD = 8  # hex digits of one 32-bit word


def iter_sockets(
    processes: Mapping[int, ProcFacts], wanted: Iterable[int]
) -> Iterator[dict[str, Any]]:
    """Sockets held by the ``wanted`` processes, and every listening one: SOCKET bodies.

    A listening port tells replay which end is the server.
    """
    owners = _owners(processes, wanted)
    for netns, pid in sorted(network_namespaces(processes).items()):
        for table in ("tcp", "tcp6"):
            for body in _iter_table(Path(f"/proc/{pid}/net/{table}"), netns):
                body["owners"] = owners.get(body["inode"], [])
                if body["owners"] or body["state"] == _LISTEN:
                    yield body


def network_namespaces(processes: Mapping[int, ProcFacts]) -> dict[int, int]:
    """A process in each network namespace, by the namespace's inode."""
    found: dict[int, int] = {}
    for pid in processes:
        try:
            found.setdefault(os.stat(f"/proc/{pid}/ns/net").st_ino, pid)  # noqa: PTH116
        except OSError:
            continue  # it has ended
    return found


def _owners(
    processes: Mapping[int, ProcFacts], wanted: Iterable[int]
) -> dict[int, list[dict[str, int]]]:
    """Who holds each socket, by inode."""
    owners: dict[int, list[dict[str, int]]] = {}
    for pid in wanted:
        for inode in set(_iter_socket_inodes(pid)):
            holder = {"pid": pid, "start_ticks": processes[pid].start_ticks}
            owners.setdefault(inode, []).append(holder)
    return owners


def _iter_socket_inodes(pid: int) -> Iterator[int]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208 - ten times as fast on many descriptors
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _iter_table(path: Path, netns: int) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text("ascii").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        local, local_port = _endpoint(fields[1])
        peer, peer_port = _endpoint(fields[2])
        yield {
            "netns": netns,
            "protocol": "tcp",
            "state": _STATES.get(int(fields[3], 16), fields[3]),
            "local": local,
            "local_port": local_port,
            "peer": peer,
            "peer_port": peer_port,
            "uid": int(fields[7]),
            "inode": int(fields[_INODE_FIELD]),
        }


def _endpoint(text: str) -> tuple[str, int]:
    """``0100007F:1F90``: words of the address in the host's byte order, the port in hex."""
    address, _, port = text.partition(":")
    words = [int(address[at : at + _WORD], 16) for at in range(0, len(address), _WORD)]
    raw = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    found = ipaddress.ip_address(raw)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found), int(port, 16)
