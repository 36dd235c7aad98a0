"""What was there before the recording, as records: processes in scope, and their sockets."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from qtapture.capture.kernel_config import Scope
from qtapture.capture.processes import ProcFacts, read_processes
from qtapture.capture.socket_counts import read_socket_counts
from qtapture.capture.sockets import iter_sockets, network_namespaces
from qtapture.source import EventType
from qtapture.timebase import boottime_ns

__all__ = ["comm_pids", "iter_end_snapshot", "iter_snapshot"]

_ESTABLISHED = "ESTABLISHED"


def iter_snapshot(scope: Scope, own: set[int]) -> Iterator[tuple[EventType, dict[str, Any]]]:
    """PROCESS and SOCKET records. ``own`` are our processes, which are nobody's business.

    Of a process that is out of scope nothing is written, except that something listens on a port.
    """
    processes = {pid: p for pid, p in read_processes().items() if p.exe and pid not in own}
    wanted = sorted(_wanted(scope, processes))
    for pid in wanted:
        yield EventType.PROCESS, processes[pid].body()
    for body in iter_sockets(processes, wanted):
        if not scope.ports or {body["local_port"], body["peer_port"]} & set(scope.ports):
            yield EventType.SOCKET, body


def iter_end_snapshot(
    scope: Scope, members: set[int], own: set[int]
) -> Iterator[tuple[EventType, dict[str, Any]]]:
    """SOCKET records of connections that are still open, with what they have moved in all.

    ``members``: processes that came into scope during the recording.
    """
    processes = {pid: p for pid, p in read_processes().items() if p.exe and pid not in own}
    wanted = sorted(_wanted(scope, processes) | members & processes.keys())
    counted_ns = boottime_ns()
    counts = read_socket_counts(network_namespaces(processes))
    for body in iter_sockets(processes, wanted):
        ports = {body["local_port"], body["peer_port"]}
        if body["state"] == _ESTABLISHED and not (scope.ports and not ports & set(scope.ports)):
            read, written = counts.get((body["netns"], body["inode"]), (None, None))
            more = {"at": "end", "counted_ns": counted_ns, "read": read, "written": written}
            yield EventType.SOCKET, {**body, **more}


def comm_pids(comms: tuple[str, ...]) -> tuple[int, ...]:
    """Processes whose executable has one of these base names: the kernel compares comms alone."""
    if not comms:
        return ()
    found = read_processes().values()
    return tuple(process.pid for process in found if PurePath(process.exe).name in comms)


def _wanted(scope: Scope, processes: dict[int, ProcFacts]) -> set[int]:
    if scope.whole_host:
        return set(processes)
    named = set(scope.pids) | {
        pid
        for pid, process in processes.items()
        if process.uid in scope.uids
        or process.comm in scope.comms
        or PurePath(process.exe).name in scope.comms
    }
    return named & processes.keys()
