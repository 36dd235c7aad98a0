"""What HAR has no word for: `_qtapture` of an entry (formats/har-qtapture.schema.json)."""

from typing import Any

from qtapture.events import Exchange, Message
from qtapture.export.attribution import (
    anomaly_rows,
    endpoint_rows,
    maybe_time,
    place_text,
    process_row,
    reason_rows,
    text_of,
    tls_row,
)
from qtapture.export.har_messages import header_rows
from qtapture.export.har_times import Times, ms_of
from qtapture.timebase import Clock

__all__ = ["qtapture_row"]

Row = dict[str, Any]
_BOTH = 2


def qtapture_row(exchange: Exchange, times: Times, via: str | None, clock: Clock) -> Row:
    """All of it; ``via``: the tunnel that the exchange is inside of."""
    messages = {
        name: message
        for name, message in (("request", exchange.request), ("response", exchange.response))
        if message is not None
    }
    row: Row = {"number": exchange.number, "index": exchange.index}
    row |= _connection(exchange)
    if via is not None:
        row["via"] = via
    incomplete = _incomplete(exchange)
    row["complete"] = not incomplete
    if incomplete:
        row["incomplete"] = incomplete
    row["records"] = _records(list(messages.values()))
    row["t_ns"] = _boot_times(exchange, times)
    if times.setup_ns:
        row["setup_ms"] = ms_of(times.setup_ns)
    if times.overlap_ns:
        row["overlap_ms"] = ms_of(times.overlap_ns)
    if exchange.request is not None:
        row["target"] = text_of(exchange.request.target)
    return row | _messages(messages, clock)


def _connection(exchange: Exchange) -> Row:
    connection = exchange.connection
    row = {
        "connection": connection.number,
        "client": place_text(connection.client),
        "server": place_text(connection.server),
        "side": connection.side.value,
        "process": process_row(exchange.process),
        "client_process": process_row(connection.client_process),
        "server_process": process_row(connection.server_process),
        "tls": tls_row(connection.tls),
        "verdict": connection.verdict.value,
        "reasons": reason_rows(connection.reasons),
    }
    if len(connection.endpoints) == _BOTH:  # both ends are on this host
        row["endpoints"] = endpoint_rows(connection.endpoints)
    return row


def _incomplete(exchange: Exchange) -> Row:
    """Why each message is not whole, or not there."""
    why = {}
    for name, message, absent in (
        ("request", exchange.request, "not_seen"),
        ("response", exchange.response, exchange.error or "no_response"),
    ):
        if message is None:
            why[name] = absent
        elif not message.complete:
            why[name] = message.incomplete_reason
    return why


def _records(messages: list[Message]) -> Row:
    """Samples in the session: the way back to the evidence."""
    return {
        "first": min((m.first_record for m in messages if m.first_record), default=0),
        "last": max((m.last_record for m in messages), default=0),
    }


def _boot_times(exchange: Exchange, times: Times) -> Row:
    """Nanoseconds of boot time as text: JSON's numbers are exact up to 2^53 alone."""
    request, response = exchange.request, exchange.response
    moments = {
        "connect": times.start_ns if times.connect_ns is not None else None,
        "established": times.start_ns + times.connect_ns if times.connect_ns is not None else None,
        "request_first": request.first_ns if request else None,
        "request_last": request.last_ns if request else None,
        "response_first": response.first_ns if response else None,
        "response_last": response.last_ns if response else None,
    }
    return {name: None if moment is None else str(moment) for name, moment in moments.items()}


def _messages(messages: dict[str, Message], clock: Clock) -> Row:
    """What is odd about messages, and the parts of them that HAR has no place for."""
    marks: Row = {}
    each = messages.values()
    if informational := [m for message in each for m in message.informational]:
        marks["informational"] = [_informational(m, clock) for m in informational]
    if any(m.trailers for m in each):
        marks["trailers"] = [
            {"message": name, **row}
            for name, message in messages.items()
            for row in header_rows(message.trailers)
        ]
    raw = {name: m.raw_headers for name, m in messages.items() if m.raw_headers is not None}
    if raw:
        # Latin-1 gives every byte back.
        marks["raw_headers"] = {name: block.decode("latin-1") for name, block in raw.items()}
    noted = [message.anomalies for message in (*each, *informational)]
    if anomalies := [row for found in noted for row in anomaly_rows(found)]:
        marks["anomalies"] = anomalies
    return marks


def _informational(message: Message, clock: Clock) -> Row:
    return {
        "status": message.status,
        "statusText": message.reason,
        "headers": header_rows(message.headers),
        "time": maybe_time(clock, message.first_ns),
        "t_ns": str(message.first_ns),
    }
