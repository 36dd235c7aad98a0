"""A folder with the bytes of every connection and body, and a manifest that accounts for them.

formats/streams.md is the specification. Missing bytes are left out and listed, never filled.
Names are made of our own numbers, so that nothing observed chooses a path.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from qtapture.errors import UsageError
from qtapture.events import (
    Body,
    Closed,
    Connection,
    Direction,
    Exchange,
    Gap,
    Loss,
    Message,
    Opened,
    Process,
    ProcessExited,
    ProcessStarted,
    Segment,
    Tables,
    Traffic,
)
from qtapture.export import ExportOptions
from qtapture.export.output import OutputFolder, append_private, open_private
from qtapture.export.streams_manifest import Manifest, StreamRow, is_streams_folder
from qtapture.timebase import Clock

__all__ = ["StreamsExport", "open_export"]

# Files open at a time; hosts allow 1,024 descriptors to a process, and connections are many more.
MOST_OPEN_FILES = 64
# Gaps listed for one direction; the rest is counted. A damaged session may have any number.
MOST_GAPS = 100_000
_STREAM_NAMES = {Direction.C2S: "c2s", Direction.S2C: "s2c"}


def open_export(path: Path | None, clock: Clock, options: ExportOptions) -> "StreamsExport":
    """An export into the folder ``path``.

    Raises:
        UsageError: ``path`` is None or exists (without ``force``), or cannot be created.
    """
    if path is None:
        raise UsageError("streams are a folder, which stdout cannot be")
    folder = OutputFolder(path, is_ours=is_streams_folder, force=options.force)
    return StreamsExport(folder, clock)


@dataclass(slots=True)
class _Stream:
    """One direction of one connection so far."""

    connection: Connection
    direction: Direction
    process: Process | None = None  # made the first payload call
    plaintext: bool = False
    length: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    gaps: list[Gap] = field(default_factory=list)
    gaps_unlisted: int = 0
    created: bool = False

    @property
    def name(self) -> str:
        return f"conn-{self.connection.number}/{_STREAM_NAMES[self.direction]}"

    def row(self) -> StreamRow:
        return StreamRow(
            name=self.name,
            connection=self.connection,
            direction=self.direction,
            process=self.process,
            plaintext=self.plaintext,
            length=self.length,
            sha256=self.digest.hexdigest(),
            gaps=self.gaps,
            gaps_unlisted=self.gaps_unlisted,
        )


class StreamsExport:
    """Appends payload as it comes; see `qtapture.export.Export` for the order of calls."""

    def __init__(self, folder: OutputFolder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._streams: dict[tuple[int, Direction], _Stream] = {}
        self._files: OrderedDict[str, BinaryIO] = OrderedDict()  # least recently used first
        self._manifest: Manifest | None = None

    def begin(self, tables: Tables) -> None:
        """Open the manifest with what the survey knows."""
        file = open_private(self._folder.at / "manifest.json")
        self._manifest = Manifest(file, self._clock)
        self._manifest.begin(tables)

    def traffic(self, item: Traffic) -> None:
        """Append a segment, or note a gap."""
        match item:
            case Segment():
                self._segment(item)
            case Gap():
                self._gap(item)
            case Closed():
                for name in _STREAM_NAMES.values():
                    self._close_file(f"conn-{item.connection.number}/{name}")
            case Opened() | Loss() | ProcessStarted() | ProcessExited():
                pass  # the survey's tables have them, and the manifest from there

    def _stream(self, item: Segment | Gap) -> _Stream:
        key = (item.connection.number, item.direction)
        if key not in self._streams:
            self._streams[key] = _Stream(connection=item.connection, direction=item.direction)
        return self._streams[key]

    def _segment(self, segment: Segment) -> None:
        stream = self._stream(segment)
        if not stream.length:
            stream.process, stream.plaintext = segment.process, segment.plaintext
        self._file(stream).write(segment.data)
        stream.digest.update(segment.data)
        stream.length += len(segment.data)

    def _gap(self, gap: Gap) -> None:
        stream = self._stream(gap)
        self._file(stream)  # a direction of which everything is missing is an empty file
        if len(stream.gaps) < MOST_GAPS:
            stream.gaps.append(gap)
        else:
            stream.gaps_unlisted += 1

    def _file(self, stream: _Stream) -> BinaryIO:
        name = stream.name
        if name in self._files:
            self._files.move_to_end(name)
            return self._files[name]
        if len(self._files) >= MOST_OPEN_FILES:
            self._close_file(next(iter(self._files)))
        path = self._folder.at / name
        if stream.created:
            self._files[name] = append_private(path)
        else:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._files[name] = open_private(path)
            stream.created = True
        return self._files[name]

    def _close_file(self, name: str) -> None:
        file = self._files.pop(name, None)
        if file is not None:
            file.close()

    def exchange(self, exchange: Exchange) -> None:
        """Write the bodies of both messages, decoded, and encoded where that differs."""
        for kind, message in (("request", exchange.request), ("response", exchange.response)):
            if message is not None and (message.body.encoded_size or message.body.decoded_size):
                name = f"conn-{exchange.connection.number}/{exchange.index}-{kind}.body"
                self._body(name, exchange, message)

    def _body(self, name: str, exchange: Exchange, message: Message) -> None:
        assert self._manifest is not None  # noqa: S101 - begin comes first
        shown = self._write(name, message.body.iter_decoded())
        self._manifest.body(name, exchange, message, shown)
        if not _may_differ(message.body):
            return
        encoded_name = f"{name}.encoded"
        encoded = self._write(encoded_name, message.body.iter_encoded())
        if encoded == shown:
            (self._folder.at / encoded_name).unlink()
        else:
            self._manifest.body(encoded_name, exchange, message, encoded)

    def _write(self, name: str, pieces: Iterable[bytes]) -> tuple[int, str]:
        """Write a file; its length and SHA-256."""
        path = self._folder.at / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        digest, length = hashlib.sha256(), 0
        with open_private(path) as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                length += len(piece)
        return length, digest.hexdigest()

    def finish(self) -> None:
        """Account for every stream, and give the folder its name."""
        assert self._manifest is not None  # noqa: S101 - begin comes first
        for name in list(self._files):
            self._close_file(name)
        for key in sorted(self._streams):
            stream = self._streams[key]
            self._manifest.stream(stream.row())
        self._manifest.end()
        self._folder.commit()

    def abandon(self) -> None:
        """Remove what was begun."""
        for name in list(self._files):
            self._close_file(name)
        if self._manifest is not None:
            self._manifest.close()
        self._folder.abandon()


def _may_differ(body: Body) -> bool:
    return bool(body.codings or body.undecodable) or body.encoded_size != body.decoded_size
