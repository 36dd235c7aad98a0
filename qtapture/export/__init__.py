"""What replay can be turned into: the literal registry of exports and the protocol they share.

Rule 1: importing this module imports no exporter; `ExportKind.open` does, when one is asked for.
Rule 2: exporters see tables, traffic and exchanges; they know nothing of sessions.
Rule 3: no clock, locale, environment, randomness or hash order: same session in, same bytes out.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from qtapture.events import Exchange, Tables, Traffic
from qtapture.timebase import Clock

__all__ = ["EXPORTS", "Export", "ExportKind", "ExportOptions"]


class Export(Protocol):
    """One export being written: `begin`, then items in order of time, then `finish`.

    After any exception the caller calls `abandon`, which leaves nothing behind.
    """

    def begin(self, tables: Tables) -> None:
        """Take the tables of the survey; called once, before anything else.

        Raises:
            UsageError: the output exists (without ``force``) or cannot be written.
        """

    def traffic(self, item: Traffic) -> None:
        """Take the next piece of traffic; times never decrease."""

    def exchange(self, exchange: Exchange) -> None:
        """Take a completed exchange; its bodies are closed by the caller afterwards."""

    def finish(self) -> None:
        """Complete the output and rename it into place."""

    def abandon(self) -> None:
        """Remove what was begun; harmless at any time and more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What the command line can ask of an export; each reads what concerns it."""

    force: bool = False  # replace an output that exists
    no_files: bool = False  # har: cut large bodies instead of writing them beside


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportKind:
    """One row of the registry. ``suffix`` is put after the session's name, "" for a folder."""

    module: str  # has open_export(path, clock, options) -> Export
    suffix: str
    summary: str  # one line for --help
    folder: bool = False  # writes a folder, hence never to stdout
    exchanges: bool = True  # wants exchanges; else protocols need not be parsed
    segments: bool = True  # wants Segment and Gap; else only the other traffic is needed

    def open(self, path: Path | None, clock: Clock, options: ExportOptions) -> Export:
        """Load the exporter and make one; ``path`` None is stdout.

        Raises:
            UsageError: the output exists (without ``force``) or cannot be what was asked.
        """
        return cast("Export", import_module(self.module).open_export(path, clock, options))


EXPORTS: dict[str, ExportKind] = {
    "har": ExportKind(
        module="qtapture.export.har",
        suffix=".har",
        summary="HTTP exchanges for browsers' developer tools",
        segments=False,
    ),
    "pcapng": ExportKind(
        module="qtapture.export.pcapng",
        suffix=".pcapng",
        summary="packets with plaintext, by process, for Wireshark",
        exchanges=False,
    ),
    "timeline": ExportKind(
        module="qtapture.export.timeline",
        suffix=".timeline.jsonl",
        summary="one JSON object a line for everything that happened, in order of time",
    ),
    "trace": ExportKind(
        module="qtapture.export.trace",
        suffix=".trace.json",
        summary="trace events for Perfetto and performance panels",
    ),
    "streams": ExportKind(
        module="qtapture.export.streams",
        suffix=".streams",
        summary="a folder with the bytes of every connection and body, and a manifest",
        folder=True,
    ),
}
