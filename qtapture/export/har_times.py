"""The times of an exchange, as docs/exporting.md has them."""

from dataclasses import dataclass
from typing import Any

from qtapture.events import Exchange

__all__ = ["Times", "times_of"]

_NS_PER_MS = 1_000_000
_UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Phases in milliseconds, -1 where unknown; ``start_ns`` is boot time."""

    start_ns: int
    connect: float
    send: float
    wait: float
    receive: float
    overlap_ms: float
    request_first: int | None
    request_last: int | None
    response_first: int | None
    response_last: int | None

    @property
    def total_ms(self) -> float:
        """The sum of the phases that are known."""
        return sum(p for p in (self.connect, self.send, self.wait, self.receive) if p >= 0)

    def row(self) -> dict[str, float]:
        """As HAR has them. The handshake's end is not observed, so ``ssl`` is not told."""
        return {
            "blocked": _UNKNOWN,
            "dns": _UNKNOWN,
            "connect": self.connect,
            "send": self.send,
            "wait": self.wait,
            "receive": self.receive,
            "ssl": _UNKNOWN,
        }

    def absolute(self) -> dict[str, Any]:
        """Boot times in nanoseconds, as text: JSON's numbers end at 2^53."""
        names = ("request_first", "request_last", "response_first", "response_last")
        found = {name: getattr(self, name) for name in names}
        return {name: None if value is None else str(value) for name, value in found.items()}


def times_of(exchange: Exchange) -> Times:
    """Send, wait and receive by the first and last byte of each message."""
    request, response = exchange.request, exchange.response
    asked = (request.first_ns, request.last_ns) if request else None
    answered = (response.first_ns, response.last_ns) if response else None
    send = wait = receive = overlap = 0
    if asked:
        # What is sent after the answer has begun is overlap, no time of its own.
        sent = min(asked[1], answered[0]) if answered else asked[1]
        send = max(sent - asked[0], 0)
        overlap = max(asked[1] - answered[0], 0) if answered else 0
        wait = max(answered[0] - max(sent, asked[0]), 0) if answered else 0
    if answered:
        receive = answered[1] - answered[0]
    connect_ns, connect = _connect(exchange)
    begun = connect_ns if connect_ns is not None else exchange.time_ns
    return Times(
        start_ns=begun,
        connect=connect,
        send=send / _NS_PER_MS,
        wait=wait / _NS_PER_MS,
        receive=receive / _NS_PER_MS,
        overlap_ms=overlap / _NS_PER_MS,
        request_first=asked[0] if asked else None,
        request_last=asked[1] if asked else None,
        response_first=answered[0] if answered else None,
        response_last=answered[1] if answered else None,
    )


def _connect(exchange: Exchange) -> tuple[int | None, float]:
    """When connecting began and how long it took, on a connection's first exchange alone."""
    connection = exchange.connection
    if not exchange.first_on_connection or connection.established_ns is None:
        return None, _UNKNOWN
    if connection.connect_ns is None or connection.connect_ns > exchange.time_ns:
        return None, _UNKNOWN
    took = max(connection.established_ns - connection.connect_ns, 0)
    return connection.connect_ns, took / _NS_PER_MS
