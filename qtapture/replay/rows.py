"""JSON lines: one object for each exchange, connection (at its end), gap, process and loss."""

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

from qtapture.analysis import Analysis, Item
from qtapture.analysis.summary import connection_row, process_row
from qtapture.events import (
    Closed,
    Exchange,
    Gap,
    Header,
    Loss,
    Message,
    ProcessExited,
    ProcessStarted,
)
from qtapture.replay.shown import beginning, exchange_url, is_text, latin
from qtapture.timebase import iso_utc

__all__ = ["iter_json"]

_Row = dict[str, Any]


def iter_json(analysis: Analysis) -> Iterator[str]:
    """The objects in order of time, without line ends; ASCII, keys in a fixed order."""
    for item in analysis.iter_items():
        try:
            row = _maybe_row(analysis, item)
        finally:
            if isinstance(item, Exchange):
                item.close()
        if row is not None:
            yield json.dumps(row, ensure_ascii=True, separators=(",", ":"))


def _clock(analysis: Analysis, time_ns: int) -> str:
    return iso_utc(analysis.clock.realtime_ns(time_ns))


def _maybe_row(analysis: Analysis, item: Item) -> _Row | None:
    match item:
        case Exchange():
            return _exchange_row(analysis, item)
        case Closed() | ProcessStarted() | ProcessExited():
            return _life_row(analysis, item)
        case Gap():
            return _gap_row(analysis, item)
        case Loss():
            return _loss_row(analysis, item)
        case _:
            return None


def _life_row(analysis: Analysis, item: Closed | ProcessStarted | ProcessExited) -> _Row:
    def when(time_ns: int | None) -> str | None:
        return None if time_ns is None else _clock(analysis, time_ns)

    if isinstance(item, Closed):
        row = connection_row(item.connection, when)
        return {"type": "connection", "time": when(item.time_ns), **row}
    action = item.action if isinstance(item, ProcessStarted) else "exit"
    row = process_row(item.process, when)
    return {"type": "process", "time": when(item.time_ns), "action": action, **row}


def _gap_row(analysis: Analysis, gap: Gap) -> _Row:
    return {
        "type": "gap",
        "time": _clock(analysis, gap.time_ns),
        "connection": gap.connection.number,
        "direction": gap.direction.name.lower(),
        "offset": gap.offset,
        "length": gap.length,
        "reason": gap.reason.value,
    }


def _loss_row(analysis: Analysis, loss: Loss) -> _Row:
    return {
        "type": "loss",
        "time": _clock(analysis, loss.time_ns),
        "since": _clock(analysis, loss.start_ns),
        "kind": loss.kind,
        "samples": loss.samples,
        "bytes": loss.bytes,
        "skipped": loss.skipped,
    }


def _exchange_row(analysis: Analysis, exchange: Exchange) -> _Row:
    process = exchange.process
    return {
        "type": "exchange",
        "time": _clock(analysis, exchange.time_ns),
        "number": exchange.number,
        "connection": exchange.connection.number,
        "index": exchange.index,
        "process": process.label if process is not None else None,
        "entity_id": process.entity_id if process is not None else None,
        "url": exchange_url(exchange) or None,
        "error": exchange.error or None,
        "request": _message_row(analysis, exchange.request),
        "response": _message_row(analysis, exchange.response),
    }


def _message_row(analysis: Analysis, message: Message | None) -> _Row | None:
    if message is None:
        return None
    return {
        "first": _clock(analysis, message.first_ns),
        "last": _clock(analysis, message.last_ns),
        "version": message.version,
        "method": message.method or None,
        "target": latin(message.target) or None,
        "status": message.status or None,
        "reason": message.reason or None,
        "headers": _pairs(message.headers),
        "trailers": _pairs(message.trailers),
        "complete": message.complete,
        "incomplete_reason": message.incomplete_reason or None,
        "anomalies": [anomaly.code for anomaly in message.anomalies],
        "body": _body_row(message),
    }


def _pairs(headers: Iterable[Header]) -> list[list[str]]:
    return [[latin(header.name), latin(header.value)] for header in headers]


def _body_row(message: Message) -> _Row:
    body = message.body
    shown = b"" if body.undecodable else beginning(body)
    row: _Row = {
        "encoded_size": body.encoded_size,
        "decoded_size": body.decoded_size,
        "undecodable": body.undecodable,
    }
    if is_text(message, shown):
        row["text"] = shown.decode("utf-8", "backslashreplace")
    else:
        row["base64"] = base64.b64encode(shown).decode()
    return row | {"truncated": body.decoded_size > len(shown)}
