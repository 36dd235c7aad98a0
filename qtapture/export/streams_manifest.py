"""manifest.json of a streams folder: written row by row, so that it may have any length."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from qtapture import __version__
from qtapture.events import (
    Connection,
    Direction,
    Endpoint,
    Exchange,
    Gap,
    Loss,
    Message,
    Process,
    Reason,
    Tables,
)
from qtapture.timebase import Clock, iso_utc

__all__ = ["Manifest", "StreamRow", "is_streams_folder"]

_FORMAT = "qtapture-streams"
_VERSION = 1
_MARK = f'{{"format":"{_FORMAT}"'.encode()
_DIRECTIONS = {Direction.C2S: "c2s", Direction.S2C: "s2c"}

_Row = dict[str, Any]


def is_streams_folder(path: Path) -> bool:
    """Whether an earlier export made this folder, so that it may be replaced."""
    try:
        with (path / "manifest.json").open("rb") as file:
            return file.read(len(_MARK)) == _MARK
    except OSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRow:
    """What is said of one direction when all of it was written."""

    name: str
    connection: Connection
    direction: Direction
    process: Process | None
    plaintext: bool
    length: int
    sha256: str
    gaps: Iterable[Gap]
    gaps_unlisted: int


class Manifest:
    """Writes head, connections and losses at once, then one row for each file."""

    def __init__(self, file: BinaryIO, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._rows = 0

    def begin(self, tables: Tables) -> None:
        """Write everything that comes before the files."""
        head = {
            "format": _FORMAT,
            "version": _VERSION,
            "made_by": f"qtapture {__version__}",
            "session": tables.facts,
            "began": self._time(tables.start_ns),
            "ended": self._time(tables.end_ns),
        }
        self._file.write(_line(head).removesuffix(b"}"))
        self._array("connections", map(self._connection, tables.connections))
        self._array("losses", map(self._loss, tables.losses))
        self._file.write(b',\n"files":[')

    def _array(self, name: str, rows: Iterator[_Row]) -> None:
        self._file.write(f',\n"{name}":['.encode())
        for count, row in enumerate(rows):
            self._file.write((b",\n" if count else b"\n") + _line(row))
        self._file.write(b"]")

    def _time(self, time_ns: int) -> str:
        return iso_utc(self._clock.realtime_ns(time_ns))

    def _connection(self, connection: Connection) -> _Row:
        return {
            "number": connection.number,
            "transport": connection.transport,
            "client": _endpoint(connection.client),
            "server": _endpoint(connection.server),
            "side": connection.side.value,
            "process": _process(connection.owner),
            "encrypted": connection.encrypted,
            "older": connection.older,
            "error": connection.error,
            "first": self._time(connection.first_ns),
            "last": self._time(connection.last_ns),
            "verdict": connection.verdict.value,
            "verdict_c2s": connection.verdict_c2s.value,
            "verdict_s2c": connection.verdict_s2c.value,
            "reasons": [_reason(reason) for reason in connection.reasons],
        }

    def _loss(self, loss: Loss) -> _Row:
        return {
            "kind": loss.kind,
            "samples": loss.samples,
            "bytes": loss.bytes,
            "skipped": loss.skipped,
            "from": self._time(loss.start_ns),
            "to": self._time(loss.time_ns),
        }

    def _file_row(self, row: _Row) -> None:
        self._file.write((b",\n" if self._rows else b"\n") + _line(row))
        self._rows += 1

    def body(
        self, name: str, exchange: Exchange, message: Message, written: tuple[int, str]
    ) -> None:
        """A row for a body, ``written`` being its length and SHA-256."""
        kind = "request" if message is exchange.request else "response"
        length, sha256 = written
        body = message.body
        self._file_row(
            {
                "name": name,
                "kind": f"{kind}_body",
                "connection": exchange.connection.number,
                "exchange": exchange.number,
                "process": _process(exchange.process),
                "length": length,
                "sha256": sha256,
                "encoded": name.endswith(".encoded"),
                "codings": list(body.codings),
                "undecodable": body.undecodable,
                "decode_limit": body.decode_limited,
                "complete": message.complete,
                "incomplete_reason": message.incomplete_reason,
                "stream": {"start": message.offset, "end": message.end},
            }
        )

    def stream(self, row: StreamRow) -> None:
        """A row for one direction of a connection."""
        self._file_row(
            {
                "name": row.name,
                "kind": "stream",
                "connection": row.connection.number,
                "direction": _DIRECTIONS[row.direction],
                "process": _process(row.process),
                "source": "tls" if row.plaintext else "socket",
                "length": row.length,
                "sha256": row.sha256,
                "gaps": [_gap(gap) for gap in row.gaps],
                "gaps_unlisted": row.gaps_unlisted,
            }
        )

    def end(self) -> None:
        """Write what closes the document."""
        self._file.write(b"]}\n")
        self._file.close()

    def close(self) -> None:
        """Close the file as it is; harmless after `end`."""
        self._file.close()


def _line(row: _Row) -> bytes:
    # ASCII only: no character of a name needs care in any reader or terminal.
    return json.dumps(row, separators=(",", ":")).encode()


def _endpoint(endpoint: Endpoint | None) -> _Row | None:
    return None if endpoint is None else asdict(endpoint)


def _process(process: Process | None) -> _Row | None:
    if process is None:
        return None
    return {
        "pid": process.pid,
        "entity_id": process.entity_id,
        "name": process.comm,
        "executable": process.executable,
        "user": process.user,
        "container": process.container,
    }


def _reason(reason: Reason) -> _Row:
    return {
        "code": reason.code.value,
        "direction": None if reason.direction is None else _DIRECTIONS[reason.direction],
        "start": reason.start,
        "end": reason.end,
        "detail": reason.detail,
    }


def _gap(gap: Gap) -> _Row:
    end = None if gap.length is None else gap.offset + gap.length
    return {"start": gap.offset, "end": end, "reason": gap.reason.value}
