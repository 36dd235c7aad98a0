"""Readable builders of HTTP/1 and of the traffic that it comes in.

    talk = Talk()
    talk.client(request("GET", "/a"))
    talk.server(response(200, body=b"hi"))
    exchanges = talk.end()

Every piece is a segment with a record number and a time of its own, so that a test can say in
which of them a message began and ended.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qtapture.events import (
    Connection,
    Direction,
    Endpoint,
    Exchange,
    Gap,
    Message,
    Process,
    ReasonCode,
    Segment,
    Side,
)
from qtapture.protocols.conversation import Conversation

C2S, S2C = Direction.C2S, Direction.S2C
STEP_NS = 1_000  # between one piece and the next
PROCESS = Process(pid=7, start_ticks=1, entity_id="e7", comm="client")

Pair = tuple[str, str]


def head(start: str, headers: Sequence[Pair] = ()) -> bytes:
    """A start line, header lines and the blank line."""
    lines = [start, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def request(
    method: str = "GET",
    target: str = "/",
    *headers: Pair,
    body: bytes | None = None,
    host: str | None = "example.com",
) -> bytes:
    """A request; a body brings its Content-Length."""
    hosts = [("Host", host)] if host is not None else []
    return head(f"{method} {target} HTTP/1.1", [*hosts, *headers, *_length(body)]) + (body or b"")


def response(
    status: int = 200, *headers: Pair, body: bytes | None = None, reason: str = "OK"
) -> bytes:
    """A response; a body brings its Content-Length."""
    return head(f"HTTP/1.1 {status} {reason}", [*headers, *_length(body)]) + (body or b"")


def _length(body: bytes | None) -> list[Pair]:
    return [] if body is None else [("Content-Length", str(len(body)))]


CHUNKED: Pair = ("Transfer-Encoding", "chunked")


def chunked(*chunks: bytes, extension: str = "", trailers: Sequence[Pair] = ()) -> bytes:
    """A body in chunks, the last one and the trailers included."""
    sizes = (f"{len(chunk):x}{extension}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
    lines = [*(f"{name}: {value}" for name, value in trailers), "", ""]
    return b"".join(sizes) + b"0\r\n" + "\r\n".join(lines).encode()


def connection(*, older: bool = False, closed: bool = True) -> Connection:
    """One connection to port 80 of a server."""
    return Connection(
        number=1,
        client=Endpoint(ip="10.0.0.1", port=40000),
        server=Endpoint(ip="10.0.0.2", port=80),
        side=Side.CLIENT,
        owner=PROCESS,
        older=older,
        closed_ns=1 if closed else None,
    )


@dataclass
class Talk:
    """Feeds one conversation, piece by piece, and keeps what it gave."""

    connection: Connection = field(default_factory=connection)
    exchanges: list[Exchange] = field(default_factory=list)
    records: int = 0
    plaintext: bool = False

    def __post_init__(self) -> None:
        self.conversation = Conversation(self.connection)
        self.offsets = {C2S: 0, S2C: 0}

    @property
    def now_ns(self) -> int:
        """The time of the last piece."""
        return self.records * STEP_NS

    def client(self, *pieces: bytes) -> "Talk":
        """The client says pieces, a segment each."""
        return self.say(C2S, pieces)

    def server(self, *pieces: bytes) -> "Talk":
        """The server says pieces, a segment each."""
        return self.say(S2C, pieces)

    def say(self, direction: Direction, pieces: Iterable[bytes]) -> "Talk":
        for piece in pieces:
            self.records += 1
            segment = Segment(
                connection=self.connection,
                direction=direction,
                offset=self.offsets[direction],
                data=piece,
                time_ns=self.now_ns,
                process=PROCESS,
                record=self.records,
                plaintext=self.plaintext,
            )
            self.offsets[direction] += len(piece)
            self.exchanges += self.conversation.feed(segment)
        return self

    def lose(self, direction: Direction, length: int | None) -> "Talk":
        """Bytes of a direction are missing; None: nobody knows how many."""
        gap = Gap(
            connection=self.connection,
            direction=direction,
            offset=self.offsets[direction],
            length=length,
            reason=ReasonCode.LOST_SAMPLES,
            time_ns=self.now_ns + STEP_NS // 2,
        )
        self.offsets[direction] += length or 0
        self.exchanges += self.conversation.gap(gap)
        return self

    def end(self) -> list[Exchange]:
        """The connection ends; all exchanges of the talk."""
        self.exchanges += self.conversation.close(self.now_ns + 50 * STEP_NS)
        return self.exchanges


def encoded(message: Message | None) -> bytes:
    """The body as it travelled, without transfer coding."""
    return b"" if message is None else b"".join(message.body.iter_encoded())


def decoded(message: Message | None) -> bytes:
    """The body without content codings."""
    return b"" if message is None else b"".join(message.body.iter_decoded())


def codes(message: Message | None) -> list[str]:
    """Codes of a message's anomalies, in order."""
    return [] if message is None else [anomaly.code for anomaly in message.anomalies]


def content_of(message: Message | None) -> Any:
    """All that must not depend on how the bytes were cut into pieces."""
    if message is None:
        return None
    return (
        (message.offset, message.end, message.wire_size, message.headers_size),
        (message.start_line, message.version, message.method, message.target),
        (message.status, message.reason, message.headers, message.raw_headers, message.trailers),
        (message.complete, message.incomplete_reason, message.anomalies),
        tuple(content_of(early) for early in message.informational),
        encoded(message),
    )


def contents(exchanges: Iterable[Exchange]) -> list[Any]:
    """The same of exchanges."""
    return [(e.index, e.error, content_of(e.request), content_of(e.response)) for e in exchanges]
