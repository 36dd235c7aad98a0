"""Requests and responses as HAR has them."""

from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from qtapture.events import Endpoint, Exchange, Header, Message
from qtapture.export.attribution import text_of
from qtapture.export.har_body import BodyFiles, HarBody, base64_of, har_body
from qtapture.export.har_cookies import request_cookies, response_cookies
from qtapture.export.har_text import UNKNOWN
from qtapture.export.urls import full_url, place_of, query_pairs

__all__ = ["header_rows", "request_row", "resource_type", "response_row", "server_row"]

Row = dict[str, Any]
_UNSEEN = "unknown"
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


def request_row(exchange: Exchange, files: BodyFiles) -> Row:
    """The request, or what stands for one that was not seen."""
    message = exchange.request
    connection = exchange.connection
    if message is None:
        scheme = "https" if connection.encrypted else "http"
        url = f"{scheme}://{place_of(connection.server)}/"
        return {"method": _UNSEEN, "url": url, **_nothing(), "queryString": []}
    row = {
        "method": message.method or _UNSEEN,
        "url": full_url(message, connection),
        "httpVersion": message.version or _UNSEEN,
        "cookies": request_cookies(message),
        "headers": header_rows(message.headers),
        "queryString": [{"name": n, "value": v} for n, v in query_pairs(message.target)],
        "headersSize": message.headers_size,
        "bodySize": message.body.encoded_size,
    }
    if message.body.encoded_size:
        row["postData"] = _post_data(exchange.number, message, files)
    return row


def response_row(exchange: Exchange, files: BodyFiles) -> Row:
    """The response, or status 0 and why there is none."""
    message = exchange.response
    if message is None:
        return {
            "status": 0,
            "statusText": "",
            **_nothing(),
            "content": {"size": 0, "mimeType": UNKNOWN},
            "redirectURL": "",
            "_error": exchange.error or "no_response",
        }
    row = {
        "status": message.status,
        "statusText": message.reason,
        "httpVersion": message.version or _UNSEEN,
        "cookies": response_cookies(message),
        "headers": header_rows(message.headers),
        "content": _content(exchange.number, message, files),
        "redirectURL": text_of(message.header("location") or b""),
        "headersSize": message.headers_size,
        "bodySize": message.body.encoded_size,
        "_transferSize": message.wire_size,
    }
    if not message.complete:
        row["_error"] = message.incomplete_reason
    return row


def header_rows(headers: tuple[Header, ...]) -> list[Row]:
    """Names and values as sent, in order."""
    return [{"name": text_of(h.name), "value": text_of(h.value)} for h in headers]


def server_row(server: Endpoint | None) -> Row:
    """Plain address and port of the server, as far as they are known."""
    row: Row = {}
    if server is None:
        return row
    address = server.ip.partition("%")[0]  # a zone means something on that host alone
    with suppress(ValueError):  # not an IP address: HAR has no word for others
        ip_address(address)
        row["serverIPAddress"] = address
    if server.port:
        row["connection"] = str(server.port)
    return row


def resource_type(message: Message | None) -> str:
    """What viewers filter by."""
    mime = (message.header("content-type") or b"" if message else b"").decode("latin-1").lower()
    return next((word for part, word in _RESOURCE_TYPES if part in mime), "other")


def _nothing() -> Row:
    """What a message that was not seen has in every field of both."""
    return {
        "httpVersion": _UNSEEN,
        "cookies": [],
        "headers": [],
        "headersSize": -1,
        "bodySize": -1,
    }


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
