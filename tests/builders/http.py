"""HTTP/1 conversations by hand: what each end says, in which pieces, and what is missing.

said = [asks(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"), answers(b"HTTP/1.1 204 No\\r\\n\\r\\n")]
[exchange] = exchanges(said)
assert shown(exchange) == shown(exchanges(said, cut=bytewise)[0])
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from builders.traffic import MS, START_NS, connection

from qtapture.events import Connection, Direction, Exchange, Gap, Message, ReasonCode, Segment
from qtapture.protocols.conversation import Conversation

CRLF = b"\r\n"


@dataclass(frozen=True)
class Said:
    """Bytes of one direction."""

    direction: Direction
    data: bytes


@dataclass(frozen=True)
class Missing:
    """Bytes that nobody saw. ``unknown``: nor how many."""

    direction: Direction
    length: int
    unknown: bool = False


Step = Said | Missing
Cut = Callable[[bytes], Iterator[bytes]]


def asks(data: bytes) -> Said:
    return Said(Direction.C2S, data)


def answers(data: bytes) -> Said:
    return Said(Direction.S2C, data)


def request(
    method: str = "GET",
    target: str = "/",
    *lines: bytes,
    body: bytes = b"",
    host: bytes = b"example.com",
) -> bytes:
    """A request; a body brings its Content-Length unless lines say how it ends."""
    start = f"{method} {target} HTTP/1.1".encode()
    return head(start, b"Host: " + host, *_sized(lines, body)) + body


def response(status: int = 200, *lines: bytes, body: bytes | None = None) -> bytes:
    """A response; the same. Without body (None) nothing says how it ends."""
    start = f"HTTP/1.1 {status} Because".encode()
    return head(start, *(lines if body is None else _sized(lines, body))) + (body or b"")


def _sized(lines: Sequence[bytes], body: bytes) -> tuple[bytes, ...]:
    names = {line.partition(b":")[0].strip().lower() for line in lines}
    if names & {b"content-length", b"transfer-encoding"}:
        return tuple(lines)
    return (*lines, b"Content-Length: %d" % len(body))


def head(*lines: bytes) -> bytes:
    return CRLF.join([*lines, b"", b""])


def chunked(*chunks: bytes, extension: bytes = b"", trailers: Sequence[bytes] = ()) -> bytes:
    """Chunks of these contents, the last one and the trailers."""
    parts = [b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
    return b"".join([*parts, b"0\r\n", *(line + CRLF for line in trailers), CRLF])


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


def at_random(random) -> Cut:
    """Pieces of 1 to 40 bytes, now and then of none."""

    def cut(data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            size = random.choice([0, 1, 2, 3, random.randrange(1, 40)])
            yield data[at : at + size]
            at += size

    return cut


def traffic(said: Sequence[Step], on: Connection, cut: Cut = whole) -> Iterator[Segment | Gap]:
    """Segments and gaps: each step one millisecond after the last, whatever its pieces."""
    offsets = dict.fromkeys(Direction, 0)
    for number, step in enumerate(said, 1):
        time_ns = START_NS + number * MS
        place = {"connection": on, "direction": step.direction, "time_ns": time_ns}
        if isinstance(step, Missing):
            length = None if step.unknown else step.length
            at = offsets[step.direction]
            yield Gap(offset=at, length=length, reason=ReasonCode.LOST_SAMPLES, **place)
            offsets[step.direction] += step.length
            continue
        for piece in cut(step.data):
            at = offsets[step.direction]
            offsets[step.direction] += len(piece)
            yield Segment(offset=at, data=piece, process=on.owner, record=number, **place)


def exchanges(
    said: Sequence[Step], *, cut: Cut = whole, on: Connection | None = None, plaintext: bool = False
) -> list[Exchange]:
    """What a conversation finds in it, its end included."""
    on = on or connection()
    conversation = Conversation(on)
    found: list[Exchange] = []
    for item in traffic(said, on, cut):
        if isinstance(item, Segment):
            found += conversation.feed(replace(item, plaintext=plaintext))
        else:
            found += conversation.gap(item)
    return found + conversation.close(START_NS + 10**9)


def encoded(message: Message) -> bytes:
    return b"".join(message.body.iter_encoded())


def decoded(message: Message) -> bytes:
    return b"".join(message.body.iter_decoded())


def codes(*messages: Message | None) -> list[str]:
    """Codes of what was odd, in order."""
    return [anomaly.code for message in messages if message for anomaly in message.anomalies]


def shown_message(message: Message | None) -> object:
    """All there is to a message, in a form that can be compared."""
    if message is None:
        return None
    facts = {name: getattr(message, name) for name in Message.__slots__ if name != "body"}
    facts["informational"] = [shown_message(each) for each in message.informational]
    return facts | {"body": encoded(message), "decoded": decoded(message)}


def shown(exchange: Exchange) -> object:
    return (
        exchange.index,
        exchange.error,
        exchange.first_on_connection,
        exchange.process,
        shown_message(exchange.request),
        shown_message(exchange.response),
    )


def check(found: Sequence[Exchange], said: Sequence[Step]) -> None:
    """What holds of any exchanges, whatever was said."""
    ends = dict.fromkeys(Direction, 0)
    for step in said:
        ends[step.direction] += len(step.data) if isinstance(step, Said) else step.length
    assert [exchange.index for exchange in found] == list(range(1, len(found) + 1))
    for exchange in found:
        assert exchange.request or exchange.response
        assert bool(exchange.error) == (exchange.response is None)
        _check_message(exchange.request, ends[Direction.C2S])
        _check_message(exchange.response, ends[Direction.S2C])


def _check_message(message: Message | None, end: int) -> None:
    if message is None:
        return
    assert 0 <= message.offset < message.end <= end
    assert message.wire_size == message.end - message.offset
    assert START_NS < message.first_ns <= message.last_ns
    assert 0 < message.first_record <= message.last_record
    assert message.complete == (not message.incomplete_reason)
    assert message.version
    assert bool(message.method) != message.start_line.startswith(b"HTTP/")
    assert message.body.encoded_size == len(encoded(message))
    assert message.body.decoded_size == len(decoded(message))
    for anomaly in message.anomalies:
        assert 0 <= anomaly.offset <= end
        assert anomaly.message == ("request" if message.method else "response")
