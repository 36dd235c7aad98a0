"""HAR 1.2 for browsers' developer tools, streamed: entries wait on disk to be put in order.

formats/har-profile.md is the specification.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qtapture import __version__
from qtapture.events import Closed, Exchange, Tables, Traffic
from qtapture.export import ExportOptions
from qtapture.export.attribution import connection_row, loss_row, process_facts_row
from qtapture.export.har_body import BodyFiles
from qtapture.export.har_entry import entry_of, maybe_tunnel
from qtapture.export.har_times import times_of
from qtapture.export.json_rows import json_bytes
from qtapture.export.output import OutputFile
from qtapture.export.spool import SortedSpool
from qtapture.timebase import Clock

__all__ = ["HarExport", "open_export"]


def open_export(path: Path | None, clock: Clock, options: ExportOptions) -> "HarExport":
    """An export into the file ``path``; None is stdout.

    Raises:
        UsageError: ``path`` or its folder of bodies exists (without ``force``), or cannot be
            created.
    """
    beside = None if options.no_files else path
    files = BodyFiles(beside, force=options.force)
    return HarExport(OutputFile(path, force=options.force), files, clock)


class HarExport:
    """Entries are written to a spool as they complete, and copied in order of their beginning."""

    def __init__(self, output: OutputFile, files: BodyFiles, clock: Clock) -> None:
        self._output = output
        self._files = files
        self._clock = clock
        self._spool = SortedSpool()
        self._tunnels: dict[int, str] = {}  # by connection, while it is open

    def begin(self, tables: Tables) -> None:
        """Write everything that stands before the entries."""
        write = self._output.stream.write
        head: dict[str, Any] = {
            "version": "1.2",
            "creator": {"name": "qtapture", "version": __version__},
            "pages": [],
            "comment": f"qtapture session {tables.facts.get('uuid', '')}".strip(),
        }
        write(b'{"log":' + json_bytes(head)[:-1] + b',"_qtapture":{"session":')
        write(json_bytes(dict(sorted(tables.facts.items()))))
        self._rows("connections", (connection_row(c, self._clock) for c in tables.connections))
        self._rows("processes", (process_facts_row(p, self._clock) for p in tables.processes))
        self._rows("loss", (loss_row(loss, self._clock) for loss in tables.losses))
        write(b'},"entries":[')

    def traffic(self, item: Traffic) -> None:
        """Bytes outside exchanges are not in a HAR; their connections are listed."""
        if isinstance(item, Closed):
            self._tunnels.pop(item.connection.number, None)

    def exchange(self, exchange: Exchange) -> None:
        """Put an entry into the spool."""
        number = exchange.connection.number
        entry = entry_of(exchange, self._clock, self._files, self._tunnels.get(number))
        if tunnel := maybe_tunnel(exchange, entry):
            self._tunnels[number] = tunnel
        # By the date that is shown: the wall clock may have been set back meanwhile.
        start_ns = self._clock.realtime_ns(times_of(exchange).start_ns)
        self._spool.add(start_ns, exchange.number, json_bytes(entry))

    def finish(self) -> None:
        """Copy the entries in order, and complete the file."""
        write = self._output.stream.write
        separator = b"\n"
        for pieces in self._spool.iter_lines():
            write(separator)
            separator = b",\n"
            for piece in pieces:
                write(piece)
        write(b"\n]}}\n")
        self._spool.close()
        # The HAR last: whoever sees it finds the files that it names.
        self._files.commit()
        self._output.commit()
        self._files.keep()

    def abandon(self) -> None:
        """Remove what was begun."""
        self._spool.close()
        self._files.abandon()
        self._output.abandon()

    def _rows(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        write = self._output.stream.write
        write(b',"%b":[' % name.encode())
        for count, row in enumerate(rows):
            write((b",\n" if count else b"\n") + json_bytes(row))
        write(b"]")
