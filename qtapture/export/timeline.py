"""A timeline as JSON lines, for Timesketch, jq and people (formats/timeline.md)."""

from pathlib import Path
from typing import Any

from qtapture.events import Exchange, Tables, Traffic
from qtapture.export import ExportOptions
from qtapture.export.json_rows import json_line
from qtapture.export.output import OutputFile
from qtapture.export.spool import SortedSpool
from qtapture.export.timeline_rows import RowMaker
from qtapture.export.timeline_traffic import TrafficRows
from qtapture.timebase import Clock

__all__ = ["TimelineExport", "open_export"]


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
        self._spool = SortedSpool()
        self._rows = RowMaker(clock)
        self._traffic = TrafficRows(self._rows)

    def begin(self, tables: Tables) -> None:
        """Learn what the session is."""
        self._rows.begin(tables)

    def traffic(self, item: Traffic) -> None:
        """Rows for what happened; of payload, only that it is there or missing."""
        for timed in self._traffic.iter_rows(item):
            self._add(timed.row)

    def exchange(self, exchange: Exchange) -> None:
        """A row for an exchange."""
        self._add(self._rows.exchange(exchange))

    def finish(self) -> None:
        """Write all rows in order of time."""
        for timed in self._traffic.iter_rest():
            self._add(timed.row)
        for pieces in self._spool.iter_lines():
            for piece in pieces:
                self._output.stream.write(piece)
        self._spool.close()
        self._output.commit()

    def abandon(self) -> None:
        """Remove what was begun."""
        self._spool.close()
        self._output.abandon()

    def _add(self, row: dict[str, Any]) -> None:
        self._spool.add(int(row["t_ns"]), row.get("qt.rec", 0), json_line(row))
