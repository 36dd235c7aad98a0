"""One exchange as a HAR entry (formats/har-profile.md)."""

from typing import Any

from qtapture.events import Exchange
from qtapture.export.attribution import time_text
from qtapture.export.har_body import BodyFiles
from qtapture.export.har_marks import qtapture_row
from qtapture.export.har_messages import request_row, resource_type, response_row, server_row
from qtapture.export.har_times import times_of
from qtapture.timebase import Clock

__all__ = ["entry_of", "maybe_tunnel"]

_SUCCESS = range(200, 300)


def entry_of(
    exchange: Exchange, clock: Clock, files: BodyFiles, via: str | None = None
) -> dict[str, Any]:
    """The entry; large bodies go into ``files``. ``via``: the tunnel that it is inside of."""
    times = times_of(exchange)
    connection = exchange.connection
    return {
        "startedDateTime": time_text(clock, times.start_ns),
        "time": times.total_ms,
        "request": request_row(exchange, files),
        "response": response_row(exchange, files),
        "cache": {},
        "timings": times.row(),
        **server_row(connection.server),
        "_connectionId": str(connection.number),
        "_resourceType": resource_type(exchange.response),
        "_initiator": {"type": "other"},
        "_securityState": "secure" if connection.encrypted else "insecure",
        "_qtapture": qtapture_row(exchange, times, via, clock),
    }


def maybe_tunnel(exchange: Exchange, entry: dict[str, Any]) -> str | None:
    """The tunnel that an exchange opened, by its URL: what follows on the connection is inside."""
    request, response = exchange.request, exchange.response
    if request is None or response is None or request.method != "CONNECT":
        return None
    return str(entry["request"]["url"]) if response.status in _SUCCESS else None
