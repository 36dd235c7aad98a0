"""Chrome trace events, for Perfetto, DevTools' performance panel and the Firefox profiler.

formats/trace.md is the specification: complete events in lanes, instants, names; nothing else.
"""

from pathlib import Path
from typing import Any

import orjson

from qtapture.events import (
    Closed,
    Connection,
    Exchange,
    Gap,
    Loss,
    Opened,
    Process,
    ProcessExited,
    ProcessStarted,
    Segment,
    Tables,
    Traffic,
)
from qtapture.export import ExportOptions
from qtapture.export.har_times import times_of
from qtapture.export.output import OutputFile
from qtapture.export.timeline_rows import RowMaker
from qtapture.timebase import Clock

__all__ = ["TraceExport", "open_export"]

Event = dict[str, Any]
_NS_PER_US = 1000
_FIRST_LANE = 1_000_000  # above every pid: lanes are no threads of anybody
_NOBODY = 0  # the pid of what belongs to no process


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
        self._rows: RowMaker | None = None
        self._start_ns = 0
        self._separator = b"\n"
        self._lanes: dict[int, list[tuple[int, int]]] = {}  # connection: (end, lane) of each
        self._next_lane = _FIRST_LANE

    def begin(self, tables: Tables) -> None:
        """Write facts of the session, and names of processes."""
        self._rows = RowMaker(self._clock)
        self._rows.begin(tables)
        self._start_ns = tables.start_ns
        other = {**tables.facts, "t0_ns": str(self._clock.realtime_ns(tables.start_ns))}
        self._output.stream.write(
            b'{"displayTimeUnit":"ms","otherData":'
            + orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
            + b',"traceEvents":['
        )
        self._name(_NOBODY, _NOBODY, "process_name", "qtapture")
        for process in tables.processes:
            self._name(process.pid, process.pid, "process_name", process.label)

    def traffic(self, item: Traffic) -> None:
        """Instants for processes and losses, a slice for each connection's set-up."""
        rows = self._made()
        match item:
            case ProcessStarted():
                self._instant(
                    f"{item.action} {item.process.comm}", item.process, rows.started(item)
                )
            case ProcessExited():
                self._instant(f"exit {item.process.comm}", item.process, rows.exited(item))
            case Loss():
                self._instant(f"lost {item.kind}", None, rows.loss(item))
            case Opened():
                self._connect(item.connection, rows.opened(item))
            case Closed():
                self._instant("closed", item.connection.owner, rows.closed(item))
                self._lanes.pop(item.connection.number, None)
            case Segment() | Gap():
                pass

    def exchange(self, exchange: Exchange) -> None:
        """A slice for the exchange, with its phases inside."""
        times = times_of(exchange)
        ends = [m.last_ns for m in (exchange.request, exchange.response) if m is not None]
        begin, end = exchange.time_ns, max(ends)
        row = self._made().exchange(exchange)
        process = exchange.process or exchange.connection.owner
        lane = self._lane(exchange.connection, process, begin, end)
        name = f"{row.get('http.request.method', '?')} {row.get('url.full', '')}".strip()
        self._slice(name, "http", (process, lane), (begin, end), row)
        at = float(begin)
        for phase in ("send", "wait", "receive"):
            length = getattr(times, phase) * 1e6
            if length > 0:
                # Clipped inside the exchange: slices of a lane must nest.
                last = min(at + length, float(end))
                self._slice(phase, "http", (process, lane), (int(at), int(last)), {})
                at = last

    def finish(self) -> None:
        """Complete the file."""
        self._output.stream.write(b"\n]}\n")
        self._output.commit()

    def abandon(self) -> None:
        """Remove what was begun."""
        self._output.abandon()

    # ------------------------------------------------------------------ events

    def _connect(self, connection: Connection, row: Event) -> None:
        began, done = connection.connect_ns, connection.established_ns
        if began is None or done is None:
            self._instant(row["event.action"], connection.owner, row)
            return
        lane = self._lane(connection, connection.owner, began, done)
        self._slice("connect", "net", (connection.owner, lane), (began, max(done, began)), row)

    def _lane(self, connection: Connection, process: Process | None, begin: int, end: int) -> int:
        """A lane of the connection's in which nothing overlaps; named when it is new."""
        lanes = self._lanes.setdefault(connection.number, [])
        for at, (busy_until, lane) in enumerate(lanes):
            if busy_until <= begin:
                lanes[at] = (end, lane)
                return lane
        lane = self._next_lane
        self._next_lane += 1
        lanes.append((end, lane))
        place = connection.network.rpartition(" -> ")[2]
        name = f"conn {connection.number} {place}"
        self._name(_pid(process), lane, "thread_name", f"{name} #{len(lanes)}")
        return lane

    def _slice(
        self,
        name: str,
        category: str,
        place: tuple[Process | None, int],
        span: tuple[int, int],
        data: Event,
    ) -> None:
        process, lane = place
        begin, end = span
        self._write(
            {
                "name": name,
                "cat": category,
                "ph": "X",
                "ts": self._ts(begin),
                "dur": max(end - begin, 0) / _NS_PER_US,
                "pid": _pid(process),
                "tid": lane,
                "args": {"data": data},
            }
        )

    def _instant(self, name: str, process: Process | None, row: Event) -> None:
        start_real_ns = self._clock.realtime_ns(self._start_ns)
        self._write(
            {
                "name": name,
                "cat": row["data_type"].partition(":")[2],
                "ph": "i",
                "s": "p",
                "ts": (int(row["t_ns"]) - start_real_ns) / _NS_PER_US,
                "pid": _pid(process),
                "tid": _pid(process),
                "args": {"data": row},
            }
        )

    def _name(self, pid: int, tid: int, kind: str, name: str) -> None:
        args = {"name": name}
        self._write({"name": kind, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": args})

    def _write(self, event: Event) -> None:
        self._output.stream.write(self._separator + orjson.dumps(event))
        self._separator = b",\n"

    def _ts(self, time_ns: int) -> float:
        """Microseconds since the session began: a double has no room for more."""
        return (time_ns - self._start_ns) / _NS_PER_US

    def _made(self) -> RowMaker:
        if self._rows is None:  # `begin` comes first (qtapture.export.Export)
            raise AssertionError
        return self._rows


def _pid(process: Process | None) -> int:
    return process.pid if process else _NOBODY
