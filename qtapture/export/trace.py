"""Chrome trace events, for Perfetto, DevTools' performance panel and the Firefox profiler.

formats/trace.md is the specification.
"""

from collections.abc import Iterator
from pathlib import Path

from qtapture.events import (
    Closed,
    Connection,
    Exchange,
    Loss,
    Opened,
    ProcessExited,
    ProcessStarted,
    Segment,
    Tables,
    Traffic,
)
from qtapture.export import ExportOptions
from qtapture.export.json_rows import json_bytes
from qtapture.export.output import OutputFile
from qtapture.export.timeline_rows import RowMaker, duration_of
from qtapture.export.timeline_traffic import TimedRow, TrafficRows
from qtapture.export.trace_counters import Counters
from qtapture.export.trace_events import EventWriter, Place
from qtapture.export.trace_lanes import Lanes
from qtapture.export.trace_processes import ProcessTracks
from qtapture.timebase import Clock

__all__ = ["TraceExport", "open_export"]

_NAMES = {
    "connection-opened": "connected",
    "connection-failed": "connect failed",
    "connection-found": "found open",
    "connection-closed": "closed",
    "connection-open": "still open",
    "tls-plaintext": "TLS plaintext",
    "tls-opaque": "TLS without plaintext",
    "bytes-missing": "bytes missing",
    "capture-loss": "samples lost",
}


def open_export(path: Path | None, clock: Clock, options: ExportOptions) -> "TraceExport":
    """An export into the file ``path``; None is stdout.

    Raises:
        UsageError: ``path`` exists (without ``force``), or cannot be created.
    """
    return TraceExport(OutputFile(path, force=options.force), clock)


class TraceExport:
    """Events are written as they come; viewers sort them."""

    def __init__(self, output: OutputFile, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._rows = RowMaker(clock)
        self._traffic = TrafficRows(self._rows)
        self._writer = EventWriter(output.stream)
        self._lanes = Lanes(self._writer)
        self._processes = ProcessTracks(self._writer)
        self._counters = Counters(self._writer)

    def begin(self, tables: Tables) -> None:
        """Write facts of the session, and tracks of processes."""
        other = tables.facts | {"t0_ns": str(self._clock.realtime_ns(tables.start_ns))}
        self._output.stream.write(
            b'{"displayTimeUnit":"ms","otherData":'
            + json_bytes(dict(sorted(other.items())))
            + b',"traceEvents":['
        )
        self._rows.begin(tables)
        self._writer.begin(tables.start_ns)
        self._counters.begin(tables.start_ns)
        self._writer.name((0, 0), "process_name", "qtapture")
        self._processes.begin(tables)

    def traffic(self, item: Traffic) -> None:
        """Instants, a slice for each connect, and counters."""
        for timed in self._traffic.iter_rows(item):
            if isinstance(item, ProcessStarted | ProcessExited):
                self._process(item, timed)
            elif isinstance(item, Opened) and timed.row["data_type"] == "qtapture:net":
                self._opened(item.connection, timed)
            else:
                self._instant(timed)
        match item:
            case Segment():
                self._counters.segment(item)
            case Loss():
                self._counters.loss(item)
            case Closed():
                self._lanes.drop(item.connection)
            case _:
                pass

    def exchange(self, exchange: Exchange) -> None:
        """A slice for the exchange, with its phases inside."""
        row = self._rows.exchange(exchange)
        begin_ns = exchange.time_ns
        end_ns = begin_ns + duration_of(exchange)
        pid = row.get("process.pid", 0)
        place = self._lanes.take(exchange.connection, pid, begin_ns, end_ns)
        name = f"{row.get('http.request.method', '?')} {row.get('url.full', '')}".strip()
        self._writer.slice(name, "http", place, begin_ns, end_ns, row)
        for phase, start_ns, stop_ns in _iter_phases(exchange):
            # Clipped inside the exchange: slices of a lane must nest.
            start_ns, stop_ns = max(start_ns, begin_ns), min(stop_ns, end_ns)  # noqa: PLW2901
            if start_ns < stop_ns:
                self._writer.slice(phase, "http", place, start_ns, stop_ns, {})

    def finish(self) -> None:
        """Complete the file."""
        for timed in self._traffic.iter_rest():
            self._instant(timed)
        self._counters.finish()
        self._output.stream.write(b"\n]}\n")
        self._output.commit()

    def abandon(self) -> None:
        """Remove what was begun."""
        self._output.abandon()

    def _process(self, item: ProcessStarted | ProcessExited, timed: TimedRow) -> None:
        name = f"{timed.row['event.action']} {item.process.comm}"
        place = self._processes.place_of(item)
        self._writer.instant(name, place, timed.time_ns, timed.row)
        self._processes.follow(item)

    def _opened(self, connection: Connection, timed: TimedRow) -> None:
        begun = connection.connect_ns
        done = connection.established_ns
        if done is None and connection.error:
            done = connection.closed_ns
        if begun is None or done is None:
            self._instant(timed)
            return
        place = self._lanes.take(connection, timed.row.get("process.pid", 0), begun, done)
        name = "connect" if connection.established_ns is not None else "connect failed"
        self._writer.slice(name, "net", place, begun, done, timed.row)

    def _instant(self, timed: TimedRow) -> None:
        action, pid = timed.row["event.action"], timed.row.get("process.pid", 0)
        place: Place = (pid, pid)
        if timed.connection is not None:
            place = self._lanes.first(timed.connection, pid)
        self._writer.instant(_NAMES[action], place, timed.time_ns, timed.row)


def _iter_phases(exchange: Exchange) -> Iterator[tuple[str, int, int]]:
    """Begin and end of send, wait and receive, as HAR has them (docs/exporting.md)."""
    request, response = exchange.request, exchange.response
    if request is not None:
        sent, answered = request.last_ns, response.first_ns if response else None
        if answered is not None:
            # What is sent after the answer has begun is no time of its own.
            sent = max(min(sent, answered), request.first_ns)
        yield "send", request.first_ns, sent
        if answered is not None:
            yield "wait", sent, answered
    if response is not None:
        yield "receive", response.first_ns, response.last_ns
