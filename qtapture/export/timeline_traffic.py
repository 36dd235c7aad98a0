"""Rows of a timeline as traffic brings them: none, one or several for each item."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qtapture.events import (
    Closed,
    Connection,
    Gap,
    Loss,
    Opened,
    ProcessExited,
    ProcessStarted,
    Segment,
    Traffic,
    Verdict,
)
from qtapture.export.timeline_gaps import GapBook, GapTotal
from qtapture.export.timeline_rows import RowMaker

__all__ = ["TimedRow", "TrafficRows"]


@dataclass(frozen=True, slots=True)
class TimedRow:
    """A row, the boot time at which it stands, and the connection that it is about."""

    time_ns: int
    row: dict[str, Any]
    connection: Connection | None = None


class TrafficRows:
    """Remembers of each open connection whether plaintext was seen, and what is missing."""

    def __init__(self, rows: RowMaker) -> None:
        self._rows = rows
        self._opened_up: set[int] = set()  # connections under TLS with plaintext so far
        self._gaps = GapBook()

    def iter_rows(self, item: Traffic) -> Iterator[TimedRow]:
        """The rows that an item gives."""
        match item:
            case Segment():
                yield from self._segment(item)
            case Gap():
                self._gaps.note(item)
            case Opened():
                yield from self._opened(item)
            case Closed():
                yield from self._closed(item)
            case ProcessStarted():
                yield TimedRow(item.time_ns, self._rows.started(item))
            case ProcessExited():
                yield TimedRow(item.time_ns, self._rows.exited(item))
            case Loss():
                yield TimedRow(item.time_ns, self._rows.loss(item))

    def iter_rest(self) -> Iterator[TimedRow]:
        """What is told at the end: gaps of connections whose own end was not."""
        for total in self._gaps.iter_rest():
            yield self._missing(total)

    def _opened(self, item: Opened) -> Iterator[TimedRow]:
        connection = item.connection
        yield TimedRow(item.time_ns, self._rows.opened(item), connection)
        if connection.encrypted and connection.verdict is Verdict.OPAQUE:
            yield TimedRow(item.time_ns, self._rows.unopened(item), connection)

    def _segment(self, segment: Segment) -> Iterator[TimedRow]:
        number = segment.connection.number
        if segment.plaintext and number not in self._opened_up:
            self._opened_up.add(number)
            row = self._rows.plaintext(segment)
            yield TimedRow(segment.time_ns, row, segment.connection)

    def _closed(self, item: Closed) -> Iterator[TimedRow]:
        self._opened_up.discard(item.connection.number)
        total = self._gaps.maybe_take(item.connection.number)
        if total is not None:
            yield self._missing(total)
        yield TimedRow(item.time_ns, self._rows.closed(item), item.connection)

    def _missing(self, total: GapTotal) -> TimedRow:
        return TimedRow(total.first_ns, self._rows.gaps(total), total.connection)
