"""Processes in a trace: a slice for each life, and arrows from who forked to what was executed."""

from collections.abc import Iterable

from qtapture.events import Process, ProcessExited, ProcessStarted, Tables
from qtapture.export.timeline_keys import process_keys
from qtapture.export.trace_events import EventWriter, Place

__all__ = ["ProcessTracks"]

# Arrows: viewers keep all in memory, and no picture of more helps anybody.
MOST_ARROWS = 100_000
_MOST_NAMES = 3  # of processes that had one pid, in its track's name


class ProcessTracks:
    """The track of a process has its pid as tid."""

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer
        self._known: dict[str, Process] = {}
        self._forks: dict[str, tuple[Place, int]] = {}  # children that have not executed anything
        self._arrows = 0

    def begin(self, tables: Tables) -> None:
        """Name all tracks, and show how long each process was there."""
        self._known = {process.entity_id: process for process in tables.processes}
        by_pid: dict[int, list[Process]] = {}
        for process in tables.processes:
            by_pid.setdefault(process.pid, []).append(process)
        for pid in sorted(by_pid):
            self._writer.name((pid, pid), "process_name", _label(by_pid[pid]))
            self._lives(by_pid[pid], tables)

    def _lives(self, processes: list[Process], tables: Tables) -> None:
        """One after another: pids are used again, and start times may be ticks of 10 ms."""
        free_ns = tables.start_ns
        for process in sorted(processes, key=lambda p: p.start_ns or 0):
            end_ns = tables.end_ns if process.exit_ns is None else process.exit_ns
            begin_ns = max(process.start_ns or free_ns, free_ns)
            place = (process.pid, process.pid)
            known = process_keys(process) | {
                "process.exit_code": process.exit_code,
                "process.exit_signal": process.exit_signal,
            }
            data = {key: value for key, value in known.items() if value is not None}
            self._writer.slice(process.label, "proc", place, begin_ns, end_ns, data)
            free_ns = max(begin_ns, end_ns)

    def place_of(self, item: ProcessStarted | ProcessExited) -> Place:
        """Where the event is shown: a fork is the parent's, all else the process's own."""
        process = item.process
        if isinstance(item, ProcessStarted) and item.action == "fork":
            parent = self._known.get(process.parent_entity_id or "")
            if parent is not None:
                return parent.pid, parent.pid
        return process.pid, process.pid

    def follow(self, item: ProcessStarted | ProcessExited) -> None:
        """Draw an arrow where a fork led to an exec; to be called after the event is written."""
        name = item.process.entity_id
        if isinstance(item, ProcessExited):
            self._forks.pop(name, None)
            return
        place = self.place_of(item)
        own = (item.process.pid, item.process.pid)
        if item.action == "fork" and place != own:
            self._forks[name] = (place, item.time_ns)
        forked = self._forks.pop(name, None) if item.action == "exec" else None
        if forked is not None and self._arrows < MOST_ARROWS:
            self._arrows += 1
            self._writer.arrow(self._arrows, forked, (own, item.time_ns))


def _label(processes: Iterable[Process]) -> str:
    names = list(dict.fromkeys(process.label for process in processes))
    more = ["..."] if len(names) > _MOST_NAMES else []
    return ", ".join(names[:_MOST_NAMES] + more)
