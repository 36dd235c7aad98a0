"""The times of an exchange, as formats/har-profile.md has them."""

from dataclasses import dataclass

from qtapture.events import Exchange, Message

__all__ = ["Times", "ms_of", "times_of"]

_NS_PER_MS = 1_000_000
_UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Phases in nanoseconds, ``connect`` None where it is not this exchange's or not known."""

    start_ns: int  # boot time
    connect_ns: int | None
    setup_ns: int  # from ESTABLISHED to the first byte of the request, on a connection's first
    send_ns: int
    wait_ns: int
    receive_ns: int
    overlap_ns: int  # what the request still sent after the answer had begun

    def row(self) -> dict[str, float]:
        """Milliseconds as HAR has them. Neither look-ups nor the handshake's end are observed."""
        return {
            "blocked": _UNKNOWN,
            "dns": _UNKNOWN,
            "connect": _UNKNOWN if self.connect_ns is None else ms_of(self.connect_ns),
            "send": ms_of(self.send_ns),
            "wait": ms_of(self.wait_ns),
            "receive": ms_of(self.receive_ns),
            "ssl": _UNKNOWN,
        }

    @property
    def total_ms(self) -> float:
        """The sum of the phases that are known, added in their order, as readers add them."""
        total = 0.0
        for phase in ("connect", "send", "wait", "receive"):
            total += max(self.row()[phase], 0)
        return total


def ms_of(time_ns: int) -> float:
    """Milliseconds of nanoseconds."""
    return time_ns / _NS_PER_MS


def times_of(exchange: Exchange) -> Times:
    """Send, wait and receive by the first and last byte of each message; none is negative."""
    begun, sent = _span(exchange.request, exchange.time_ns)
    # Without an answer nothing was waited for and nothing received.
    answered, ended = _span(exchange.response, sent)
    # What is sent after the answer has begun is overlap, no time of its own.
    stopped = max(min(sent, answered), begun)
    connect_ns, established_ns = _connected(exchange)
    return Times(
        start_ns=begun if connect_ns is None else connect_ns,
        connect_ns=None if connect_ns is None else established_ns - connect_ns,
        setup_ns=0 if connect_ns is None else max(begun - established_ns, 0),
        send_ns=stopped - begun,
        wait_ns=max(answered - stopped, 0),
        receive_ns=ended - answered,
        overlap_ns=max(sent - max(answered, begun), 0),
    )


def _span(message: Message | None, missing_ns: int) -> tuple[int, int]:
    if message is None:
        return missing_ns, missing_ns
    return message.first_ns, max(message.last_ns, message.first_ns)


def _connected(exchange: Exchange) -> tuple[int | None, int]:
    """SYN and ESTABLISHED, where they were seen and this exchange came first on its connection."""
    connection = exchange.connection
    connect_ns, established_ns = connection.connect_ns, connection.established_ns
    if not exchange.first_on_connection or connect_ns is None or established_ns is None:
        return None, 0
    # With TCP Fast Open the request begins before the connection is established.
    ended_ns = min(established_ns, exchange.time_ns)
    return (connect_ns, ended_ns) if connect_ns <= ended_ns else (None, 0)
