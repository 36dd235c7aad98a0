"""Trace events as text: one object of the Trace Event Format for each line of a file.

Times are boot times in nanoseconds; the file has microseconds since the session began, because a
double that counts from the epoch has no digits left below one.
"""

from typing import Any, BinaryIO

from qtapture.export.json_rows import json_bytes

__all__ = ["EventWriter", "Place"]

Row = dict[str, Any]
Place = tuple[int, int]  # pid, tid
_NS_PER_US = 1000


class EventWriter:
    """Writes events into a list of JSON that somebody else began and ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._separator = b"\n"
        self._start_ns = 0

    def begin(self, start_ns: int) -> None:
        """Learn when the session began; what is said to be before that is shown there."""
        self._start_ns = start_ns

    def name(self, place: Place, kind: str, name: str) -> None:
        """Metadata: ``kind`` is process_name or thread_name."""
        self._write(kind, "M", self._start_ns, place, {"args": {"name": name}})

    def slice(
        self, name: str, category: str, place: Place, begin_ns: int, end_ns: int, data: Row
    ) -> None:
        """Something that took time."""
        begin_ns = max(begin_ns, self._start_ns)
        duration = max(end_ns - begin_ns, 0) / _NS_PER_US
        more = {"cat": category, "dur": duration, "args": {"data": data}}
        self._write(name, "X", begin_ns, place, more)

    def instant(self, name: str, place: Place, time_ns: int, row: Row) -> None:
        """Something that happened; the row of a timeline says what."""
        category = row["data_type"].partition(":")[2]
        scope = "p" if place[0] == place[1] else "t"  # a lane's own, or the process's
        more = {"cat": category, "s": scope, "args": {"data": row}}
        self._write(name, "i", time_ns, place, more)

    def counter(self, name: str, pid: int, time_ns: int, values: dict[str, int]) -> None:
        """Values from a moment on."""
        self._write(name, "C", time_ns, (pid, pid), {"args": values})

    def arrow(self, number: int, begin: tuple[Place, int], end: tuple[Place, int]) -> None:
        """From one moment of one track to a later moment of another."""
        for phase, (place, time_ns) in (("s", begin), ("f", end)):
            # "e": it ends at the slice around it, not at the next one.
            more: Row = {"cat": "proc", "id": number, "args": {}} | (
                {"bp": "e"} if phase == "f" else {}
            )
            self._write("started", phase, time_ns, place, more)

    def _write(self, name: str, phase: str, time_ns: int, place: Place, more: Row) -> None:
        ts = max(time_ns - self._start_ns, 0) / _NS_PER_US
        event = {"name": name, "ph": phase, "ts": ts, "pid": place[0], "tid": place[1], **more}
        self._stream.write(self._separator + json_bytes(event))
        self._separator = b",\n"
