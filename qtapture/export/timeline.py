"""A timeline as JSON lines, for Timesketch, jq and people (formats/timeline.md)."""

import re
from pathlib import Path
from typing import Any

import orjson

from qtapture.events import (
    Closed,
    Exchange,
    Gap,
    Loss,
    Opened,
    ProcessExited,
    ProcessStarted,
    Segment,
    Tables,
    Traffic,
)
from qtapture.export import ExportOptions
from qtapture.export.output import OutputFile
from qtapture.export.spool import SortedSpool
from qtapture.export.timeline_rows import RowMaker
from qtapture.timebase import Clock

__all__ = ["TimelineExport", "json_line", "open_export"]

# JSON allows them unescaped, terminals act upon them, and some readers split lines at the last two:
# DEL, C1 controls, U+2028 and U+2029, as UTF-8.
_ESCAPED = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


def open_export(path: Path | None, clock: Clock, options: ExportOptions) -> "TimelineExport":
    """An export into the file ``path``; None is stdout.

    Raises:
        UsageError: ``path`` exists (without ``force``), or cannot be created.
    """
    return TimelineExport(OutputFile(path, force=options.force), clock)


class TimelineExport:
    """Rows wait on disk: an exchange is known when it ends, and stands where it began."""

    def __init__(self, output: OutputFile, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._spool = SortedSpool()
        self._rows: RowMaker | None = None

    def begin(self, tables: Tables) -> None:
        """Learn what the session is."""
        self._rows = RowMaker(tables, self._clock)

    def traffic(self, item: Traffic) -> None:
        """A row for what is no payload."""
        rows = self._made()
        match item:
            case Opened():
                self._add(rows.opened(item))
            case Closed():
                self._add(rows.closed(item))
            case ProcessStarted():
                self._add(rows.started(item))
            case ProcessExited():
                self._add(rows.exited(item))
            case Loss():
                self._add(rows.loss(item))
            case Segment() | Gap():
                pass  # their connection's verdict and reasons tell of them

    def exchange(self, exchange: Exchange) -> None:
        """A row for an exchange."""
        self._add(self._made().exchange(exchange))

    def finish(self) -> None:
        """Write all rows in order of time."""
        for pieces in self._spool.iter_lines():
            for piece in pieces:
                self._output.stream.write(piece)
        self._spool.close()
        self._output.commit()

    def abandon(self) -> None:
        """Remove what was begun."""
        self._spool.close()
        self._output.abandon()

    def _made(self) -> RowMaker:
        if self._rows is None:  # `begin` comes first (qtapture.export.Export)
            raise AssertionError
        return self._rows

    def _add(self, row: dict[str, Any]) -> None:
        self._spool.add(int(row["t_ns"]), row.get("qt.rec", 0), json_line(row))


def json_line(row: dict[str, Any]) -> bytes:
    """One row, with its line end, and nothing in it that is taken for another."""
    return _ESCAPED.sub(_escape, orjson.dumps(row)) + b"\n"


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode("utf-8"))
