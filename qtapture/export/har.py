"""HAR 1.2 for browsers' developer tools, streamed: entries wait on disk to be put in order.

formats/har-profile.md is the specification.
"""

import tempfile
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import orjson

from qtapture import __version__
from qtapture.events import Exchange, Tables, Traffic
from qtapture.export import ExportOptions
from qtapture.export.attribution import connection_row, loss_row, process_row
from qtapture.export.har_body import BodyFiles
from qtapture.export.har_entry import entry_of
from qtapture.export.output import OutputFile
from qtapture.timebase import Clock

__all__ = ["HarExport", "open_export"]

_COPY = 1 << 20


def open_export(path: Path | None, clock: Clock, options: ExportOptions) -> "HarExport":
    """An export into the file ``path``; None is stdout.

    Raises:
        UsageError: ``path`` exists (without ``force``), or cannot be created.
    """
    files = BodyFiles(None if options.no_files else path, force=options.force)
    return HarExport(OutputFile(path, force=options.force), files, clock)


class HarExport:
    """Entries are written to a spool as they complete, and copied in order of their beginning."""

    def __init__(self, output: OutputFile, files: BodyFiles, clock: Clock) -> None:
        self._output = output
        self._files = files
        self._clock = clock
        self._spool: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        self._end = 0
        # Columns, for a million entries: beginning, number, place and length in the spool.
        self._starts = array("q")
        self._numbers = array("q")
        self._places = array("q")
        self._lengths = array("q")

    def begin(self, tables: Tables) -> None:
        """Write everything that stands before the entries."""
        write = self._output.stream.write
        head: dict[str, Any] = {
            "version": "1.2",
            "creator": {"name": "qtapture", "version": __version__},
            "pages": [],
            "comment": f"qtapture session {tables.facts.get('uuid', '')}".strip(),
        }
        write(b'{"log":' + orjson.dumps(head)[:-1] + b',"_qtapture":{"session":')
        write(orjson.dumps(tables.facts, option=orjson.OPT_SORT_KEYS))
        self._rows("connections", (connection_row(c, self._clock) for c in tables.connections))
        self._rows("processes", (process_row(p) for p in tables.processes))
        self._rows("loss", (loss_row(loss, self._clock) for loss in tables.losses))
        write(b'},"entries":[')

    def traffic(self, item: Traffic) -> None:
        """Bytes outside exchanges are not in a HAR; their connections are listed."""
        del item

    def exchange(self, exchange: Exchange) -> None:
        """Put an entry into the spool."""
        entry = entry_of(exchange, self._clock, self._files)
        line = orjson.dumps(entry)
        self._spool.write(line)
        self._starts.append(exchange.time_ns)
        self._numbers.append(exchange.number)
        self._places.append(self._end)
        self._lengths.append(len(line))
        self._end += len(line)

    def finish(self) -> None:
        """Copy the entries in order, and complete the file."""
        order = sorted(
            range(len(self._starts)), key=lambda at: (self._starts[at], self._numbers[at])
        )
        write = self._output.stream.write
        for count, at in enumerate(order):
            write(b",\n" if count else b"\n")
            self._spool.seek(self._places[at])
            left = self._lengths[at]
            while left:
                piece = self._spool.read(min(left, _COPY))
                write(piece)
                left -= len(piece)
        write(b"\n]}}\n")
        self._spool.close()
        # The HAR last: whoever sees it finds the files that it names.
        self._files.commit()
        self._output.commit()

    def abandon(self) -> None:
        """Remove what was begun."""
        self._spool.close()
        self._files.abandon()
        self._output.abandon()

    def _rows(self, name: str, rows: Iterable[dict[str, Any] | None]) -> None:
        write = self._output.stream.write
        write(b',"%b":[' % name.encode())
        for count, row in enumerate(rows):
            write((b",\n" if count else b"\n") + orjson.dumps(row))
        write(b"]")
