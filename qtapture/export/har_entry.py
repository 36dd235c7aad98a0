"""One exchange as a HAR entry (formats/har-profile.md)."""

from email.utils import parsedate_to_datetime
from typing import Any

from qtapture.events import Connection, Exchange, Header, Message
from qtapture.export.attribution import (
    anomaly_rows,
    maybe_time,
    process_row,
    reason_rows,
    text_of,
    tls_row,
)
from qtapture.export.har_body import BodyFiles, HarBody, base64_of, har_body
from qtapture.export.har_times import Times, times_of
from qtapture.export.urls import full_url, query_pairs
from qtapture.timebase import Clock

__all__ = ["entry_of"]

Row = dict[str, Any]
_UNKNOWN = "unknown"
# By the type of the response; DevTools filters by these words.
_RESOURCE_TYPES = (
    ("text/html", "document"),
    ("text/css", "stylesheet"),
    ("javascript", "script"),
    ("image/", "image"),
    ("font/", "font"),
    ("audio/", "media"),
    ("video/", "media"),
    ("json", "xhr"),
)


def entry_of(exchange: Exchange, clock: Clock, files: BodyFiles) -> Row:
    """The entry; large bodies go into ``files``."""
    times = times_of(exchange)
    connection = exchange.connection
    entry: Row = {
        "startedDateTime": maybe_time(clock, times.start_ns),
        "time": times.total_ms,
        "request": _request(exchange, files),
        "response": _response(exchange, files),
        "cache": {},
        "timings": times.row(),
        "_resourceType": _resource_type(exchange.response),
        "_initiator": {"type": "other"},
        "_connectionId": str(connection.number),
        "_securityState": "secure" if connection.encrypted else "insecure",
    }
    if connection.server is not None:
        entry["serverIPAddress"] = connection.server.ip
        entry["connection"] = str(connection.server.port)
    entry["_qtapture"] = _qtapture(exchange, times)
    return entry


# ---------------------------------------------------------------------- messages


def _request(exchange: Exchange, files: BodyFiles) -> Row:
    message = exchange.request
    connection = exchange.connection
    if message is None:
        return _no_request(connection)
    row = {
        "method": message.method or _UNKNOWN,
        "url": full_url(message, connection),
        "httpVersion": message.version or _UNKNOWN,
        "cookies": _request_cookies(message),
        "headers": _headers(message.headers),
        "queryString": [{"name": n, "value": v} for n, v in query_pairs(message.target)],
        "headersSize": message.headers_size,
        "bodySize": message.body.encoded_size,
    }
    if message.body.encoded_size:
        row["postData"] = _post_data(exchange.number, message, files)
    return row


def _no_request(connection: Connection) -> Row:
    host = connection.server
    place = "unknown" if host is None else f"[{host.ip}]" if ":" in host.ip else host.ip
    port = f":{host.port}" if host is not None else ""
    return {
        "method": _UNKNOWN,
        "url": f"{'https' if connection.encrypted else 'http'}://{place}{port}/",
        "httpVersion": _UNKNOWN,
        "cookies": [],
        "headers": [],
        "queryString": [],
        "headersSize": -1,
        "bodySize": -1,
    }


def _response(exchange: Exchange, files: BodyFiles) -> Row:
    message = exchange.response
    if message is None:
        return {
            "status": 0,
            "statusText": "",
            "httpVersion": _UNKNOWN,
            "cookies": [],
            "headers": [],
            "content": {"size": 0, "mimeType": "x-unknown"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
            "_error": exchange.error or "no_response",
        }
    row = {
        "status": message.status,
        "statusText": message.reason,
        "httpVersion": message.version or _UNKNOWN,
        "cookies": _response_cookies(message),
        "headers": _headers(message.headers),
        "content": _content(exchange.number, message, files),
        "redirectURL": text_of(message.header("location") or b""),
        "headersSize": message.headers_size,
        "bodySize": message.body.encoded_size,
        "_transferSize": message.wire_size,
    }
    if not message.complete:
        row["_error"] = message.incomplete_reason
    return row


def _headers(headers: tuple[Header, ...]) -> list[Row]:
    return [{"name": text_of(h.name), "value": text_of(h.value)} for h in headers]


def _content(number: int, message: Message, files: BodyFiles) -> Row:
    found = har_body(message, f"{number}-response.body", files)
    body = message.body
    row: Row = {
        "size": body.decoded_size,
        "compression": body.decoded_size - body.encoded_size,
        "mimeType": found.mime,
    }
    if found.text is not None:
        row["text"] = found.text
    else:
        row["text"] = base64_of(found.raw)
        row["encoding"] = "base64"
    return _marked(row, found)


def _post_data(number: int, message: Message, files: BodyFiles) -> Row:
    found = har_body(message, f"{number}-request.body", files)
    row: Row = {"mimeType": found.mime, "text": found.text or ""}
    if found.text is None:
        row["_textBase64"] = base64_of(found.raw)
    return _marked(row, found)


def _marked(row: Row, found: HarBody) -> Row:
    if found.marks:
        row["_qtapture"] = found.marks
    return row


def _resource_type(message: Message | None) -> str:
    mime = (message.header("content-type") or b"" if message else b"").decode("latin-1").lower()
    return next((word for part, word in _RESOURCE_TYPES if part in mime), "other")


# ---------------------------------------------------------------------- cookies


def _request_cookies(message: Message) -> list[Row]:
    rows = []
    for header in message.headers:
        if header.name.lower() == b"cookie":
            for part in header.value.split(b";"):
                name, _, value = part.strip().partition(b"=")
                if part.strip():
                    rows.append({"name": text_of(name), "value": text_of(value)})
    return rows


def _response_cookies(message: Message) -> list[Row]:
    lines = (h.value for h in message.headers if h.name.lower() == b"set-cookie")
    return [_set_cookie(line) for line in lines]


def _set_cookie(line: bytes) -> Row:
    """RFC 6265 5.2, as far as HAR has fields for it."""
    pair, *attributes = line.split(b";")
    name, _, value = pair.strip().partition(b"=")
    row: Row = {"name": text_of(name), "value": text_of(value)}
    for attribute in attributes:
        key, _, raw = attribute.strip().partition(b"=")
        word = text_of(raw).strip()
        match key.strip().lower():
            case b"path":
                row["path"] = word
            case b"domain":
                row["domain"] = word
            case b"httponly":
                row["httpOnly"] = True
            case b"secure":
                row["secure"] = True
            case b"samesite":
                row["sameSite"] = word
            case b"expires":
                row |= _expiry(word)
            case _:
                pass
    return row


def _expiry(word: str) -> Row:
    try:
        moment = parsedate_to_datetime(word)
    except (ValueError, TypeError, IndexError, OverflowError):
        return {}  # no date; the header says what it was
    return {"expires": moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"}


# ---------------------------------------------------------------------- what HAR has no word for


def _qtapture(exchange: Exchange, times: Times) -> Row:
    connection = exchange.connection
    messages = [m for m in (exchange.request, exchange.response) if m is not None]
    complete = len(messages) == 2 and all(m.complete for m in messages)  # noqa: PLR2004 - both
    row: Row = {
        "number": exchange.number,
        "connection": connection.number,
        "index": exchange.index,
        "process": process_row(exchange.process),
        "client_process": process_row(connection.client_process),
        "server_process": process_row(connection.server_process),
        "side": connection.side.value,
        "tls": tls_row(connection.tls),
        "verdict": connection.verdict.value,
        "reasons": reason_rows(connection.reasons),
        "complete": complete,
        "records": _records(messages),
        "t_ns": times.absolute(),
    }
    if times.overlap_ms:
        row["overlap_ms"] = times.overlap_ms
    for name, message in (("request", exchange.request), ("response", exchange.response)):
        row |= _message_marks(name, message)
    anomalies = [row for m in messages for row in anomaly_rows(m.anomalies)]
    if anomalies:
        row["anomalies"] = anomalies
    return row


def _records(messages: list[Message]) -> Row:
    """Samples in the session: the way back to the evidence."""
    return {
        "first": min((m.first_record for m in messages if m.first_record), default=0),
        "last": max((m.last_record for m in messages), default=0),
    }


def _message_marks(name: str, message: Message | None) -> Row:
    if message is None:
        return {f"{name}_missing": True}
    marks: Row = {}
    if not message.complete:
        marks[f"{name}_incomplete"] = message.incomplete_reason
    if message.trailers:
        marks[f"{name}_trailers"] = _headers(message.trailers)
    if message.raw_headers is not None:
        marks[f"{name}_raw_headers"] = message.raw_headers.decode("latin-1")
    if name == "request":
        marks["target"] = text_of(message.target)
    if message.informational:
        marks["informational"] = [
            {"status": m.status, "headers": _headers(m.headers), "t_ns": str(m.first_ns)}
            for m in message.informational
        ]
    return marks
