"""Memory is bounded and work is linear, whatever comes; steps are counted, nothing is timed."""

import sys
import tracemalloc
from contextlib import contextmanager

import pytest
from builders.http import asks, bytewise, chunked, head, request, response, traffic
from builders.traffic import connection

from qtapture.events import Direction, Gap, ReasonCode, Segment
from qtapture.protocols.conversation import Conversation

PIECE = 16384
CHUNKED = b"Transfer-Encoding: chunked"
GET = b"GET / HTTP/1.1\r\n"


@contextmanager
def at_most(size):
    """Memory that is taken meanwhile stays below this many bytes."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size, peak


def endless(beginning, repeated, direction, *, total, older=False):
    """Feed a beginning and then the same bytes until so many have come; give what completed."""
    on = connection(older=older)
    conversation = Conversation(on)
    piece = repeated * (PIECE // len(repeated))
    offset = 0
    for number, data in enumerate([beginning, *[piece] * (total // len(piece))], 1):
        segment = Segment(
            connection=on,
            direction=direction,
            offset=offset,
            data=data,
            time_ns=number,
            process=None,
            record=number,
        )
        offset += len(data)
        for exchange in conversation.feed(segment):
            exchange.close()
    for exchange in conversation.close(0):
        exchange.close()


C2S, S2C = Direction
BOMBS = {
    "one endless header": (GET + b"A: ", b"x", C2S),
    "endless headers": (GET, b"A: b\r\n", C2S),
    "endless folds": (GET + b"A: b\r\n", b" c\r\n", C2S),
    "an endless target": (b"GET /", b"x", C2S),
    "an endless method": (b"GET", b"T", C2S),
    "an endless reason": (b"HTTP/1.1 200 ", b"x", S2C),
    "endless blank lines": (b"\r\n", b"\r\n", C2S),
    "an endless chunk size": (GET + CHUNKED + b"\r\n\r\n", b"0", C2S),
    "an endless chunk extension": (GET + CHUNKED + b"\r\n\r\n1;", b"x", C2S),
    "endless small chunks": (GET + CHUNKED + b"\r\n\r\n", b"10\r\n" + b"x" * 16 + b"\r\n", C2S),
    "endless trailers": (GET + CHUNKED + b"\r\n\r\n0\r\n", b"A: b\r\n", C2S),
    "an endless body": (GET + b"Content-Length: 999999999999\r\n\r\n", b"x" * 64, C2S),
    "a body until the end": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 64, S2C),
    "endless informational responses": (b"", response(103), S2C),
    "endless requests": (b"", request(), C2S),
    "endless requests of many headers": (b"", GET + b"A:\r\n" * 2700 + b"\r\n", C2S),
    "endless nonsense": (request(), b"\0nonsense\r\n", C2S),
    "an endless line of nonsense": (request(), b"x", C2S),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_takes_memory(name):
    beginning, repeated, direction = BOMBS[name]
    total = (24 if len(set(repeated)) == 1 else 1) << 19
    with at_most(16 << 20):
        endless(beginning, repeated, direction, total=total)


@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_takes_memory_where_the_beginning_was_missed(name):
    _, repeated, direction = BOMBS[name]
    with at_most(16 << 20):
        endless(b"", repeated, direction, total=1 << 19, older=True)


def test_endless_gaps_take_no_memory():
    on = connection()
    conversation = Conversation(on)
    with at_most(1 << 20):
        for number in range(20_000):
            gap = Gap(
                connection=on,
                direction=Direction(number % 2),
                offset=0,
                length=None,
                reason=ReasonCode.LOST_SAMPLES,
                time_ns=number,
            )
            assert conversation.gap(gap) == []


def steps_of(said):
    """Lines of Python that run while it is fed byte by byte."""
    on = connection()
    conversation = Conversation(on)
    segments = list(traffic([asks(said)], on, bytewise))
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for segment in segments:
            conversation.feed(segment)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "make",
    [
        lambda n: head(b"GET / HTTP/1.1", *[b"A: b"] * n),
        lambda n: b"GET /" + b"x" * 8 * n,
        lambda n: request("POST", "/", CHUNKED) + chunked(*[b"abc"] * n),
        lambda n: request("POST", "/", CHUNKED) + chunked(b"a", trailers=[b"A: b"] * n),
        lambda n: request("POST", "/", body=b"x" * 8 * n),
        lambda n: request() + b"nonsense\n" * n,
    ],
    ids=["headers", "target", "chunks", "trailers", "body", "nonsense"],
)
def test_work_grows_with_the_number_of_bytes(make):
    small, large = steps_of(make(100)), steps_of(make(400))
    assert large < 5 * small


@pytest.mark.parametrize("line", [b"GET a%sx", b"GET / HTTP/1.1%sx", b"GET%sx", b"%sx"])
def test_long_runs_of_blanks_cost_no_more_than_their_length(line):
    # Patterns that try each blank would need minutes for these.
    said = [asks((line % (b" " * 60_000) + b"\r\n") * 16)]
    conversation = Conversation(connection())
    for segment in traffic([asks(request()), *said], connection()):
        assert conversation.feed(segment) == []
