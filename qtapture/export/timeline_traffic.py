"""Rows of a timeline as traffic brings them: none, one or several for each item."""

from collections.abc import Iterator
from typing import Any

from qtapture.events import (
    Closed,
    Gap,
    Loss,
    Opened,
    ProcessExited,
    ProcessStarted,
    Segment,
    Traffic,
    Verdict,
)
from qtapture.export.timeline_gaps import GapBook
from qtapture.export.timeline_rows import RowMaker

__all__ = ["TrafficRows"]

Row = dict[str, Any]


class TrafficRows:
    """Remembers of each open connection whether plaintext was seen, and what is missing."""

    def __init__(self, rows: RowMaker) -> None:
        self._rows = rows
        self._opened_up: set[int] = set()  # connections under TLS with plaintext so far
        self._gaps = GapBook()

    def iter_rows(self, item: Traffic) -> Iterator[Row]:
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
                yield self._rows.started(item)
            case ProcessExited():
                yield self._rows.exited(item)
            case Loss():
                yield self._rows.loss(item)

    def iter_rest(self) -> Iterator[Row]:
        """What is told at the end: gaps of connections whose own end was not."""
        for total in self._gaps.iter_rest():
            yield self._rows.gaps(total)

    def _opened(self, item: Opened) -> Iterator[Row]:
        yield self._rows.opened(item)
        if item.connection.encrypted and item.connection.verdict is Verdict.OPAQUE:
            yield self._rows.unopened(item)

    def _segment(self, segment: Segment) -> Iterator[Row]:
        number = segment.connection.number
        if segment.plaintext and number not in self._opened_up:
            self._opened_up.add(number)
            yield self._rows.plaintext(segment)

    def _closed(self, item: Closed) -> Iterator[Row]:
        self._opened_up.discard(item.connection.number)
        total = self._gaps.maybe_take(item.connection.number)
        if total is not None:
            yield self._rows.gaps(total)
        yield self._rows.closed(item)
