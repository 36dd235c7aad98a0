"""Nothing raises, whatever comes, and what is found is well-formed."""

from random import Random

from builders.conversations import CONVERSATIONS
from builders.http import (
    Missing,
    Said,
    at_random,
    bytewise,
    check,
    chunked,
    exchanges,
    head,
    request,
    response,
    shown,
)
from builders.traffic import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from qtapture.events import Direction

cuts = st.integers(0, 1 << 16).map(lambda seed: at_random(Random(seed)))
directions = st.sampled_from(list(Direction))
# Pieces of HTTP in any order reach further than bytes alone.
words = st.sampled_from(
    [
        *(b"GET / HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n"),
        *(b"POST /\xff HTTP/1.0\n", b"PRI * HTTP/2.0\r\n", b"HTTP/1.1 200 OK\r\n"),
        *(b"HTTP/1.1 100 C\r\n", b"HTTP/1.1 101 S\r\n", b"HTTP/1.0 304\n", b"HTTP/1.1 204 \r\n"),
        *(b"Host: a\r\n", b"Content-Length: 3\r\n", b"Content-Length: 5, 7\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n"),
        *(b"Content-Encoding: gzip\r\n", b"Content-Encoding: br, zstd\r\n", b" folded\r\n"),
        *(b"Expect: 100-continue\r\n", b"X : \r y\r\n", b"nothing\r\n", b"\x1f\x8b\x08"),
        *(b"\r\n", b"\n", b"\r", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"ffff\r\n"),
    ]
)
noise = st.lists(words | st.binary(max_size=8), max_size=12).map(b"".join)
said = st.builds(Said, directions, noise)
missing = st.builds(Missing, directions, st.integers(0, 40), st.booleans())
talks = st.lists(said | missing, max_size=8)
bodies = st.binary(max_size=60)
tokens = st.text("abcXYZ-_09", min_size=1, max_size=8).map(str.encode)
values = st.text("abc XYZ;=\"'/", max_size=20).map(lambda text: text.strip().encode())
lines = st.lists(st.builds(lambda n, v: b"X-%s: %s" % (n, v), tokens, values), max_size=4)


@settings(max_examples=400, deadline=None)
@given(talks, st.booleans(), cuts)
def test_any_pieces_of_http_give_well_formed_exchanges(steps, older, pieces):
    for cut in (pieces, bytewise):
        check(exchanges(steps, on=connection(older=older), cut=cut), steps)
    check(exchanges(steps, on=connection(older=older)), steps)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(CONVERSATIONS)), st.data())
def test_any_change_to_a_conversation_gives_well_formed_exchanges(name, data):
    steps = list(CONVERSATIONS[name])
    number = data.draw(st.integers(0, len(steps) - 1))
    step = steps[number]
    at = data.draw(st.integers(0, len(step.data)))
    until = data.draw(st.integers(at, len(step.data)))
    changed = step.data[:at] + data.draw(st.binary(max_size=8)) + step.data[until:]
    steps[number] = Said(step.direction, changed)
    check(exchanges(steps), steps)


def _framed(body, how, start, lines_before):
    """One message whose body is delimited in one of the ways."""
    if how == "length":
        return head(start, *lines_before, b"Content-Length: %d" % len(body)) + body
    chunks = [body[at : at + 7] for at in range(0, len(body), 7)]
    return head(start, *lines_before, b"Transfer-Encoding: chunked") + chunked(*chunks)


framings = st.sampled_from(["length", "chunked"])
turns = st.lists(
    st.tuples(bodies, framings, lines, bodies, framings, lines), min_size=1, max_size=4
)


@settings(max_examples=150, deadline=None)
@given(turns, st.booleans(), cuts)
def test_generated_conversations_come_back_as_they_were_said(spoken, pipelined, pieces):
    asked = [_framed(b, how, b"POST /x HTTP/1.1", [b"Host: a", *x]) for b, how, x, *_ in spoken]
    answered = [_framed(b, how, b"HTTP/1.1 200 OK", x) for *_, b, how, x in spoken]
    if pipelined:
        steps = [
            Said(Direction.C2S, b"".join(asked)),
            Said(Direction.S2C, b"".join(answered)),
        ]
    else:
        steps = [
            Said(Direction(turn), data)
            for pair in zip(asked, answered, strict=True)
            for turn, data in enumerate(pair)
        ]
    found = exchanges(steps, cut=pieces)
    check(found, steps)
    assert len(found) == len(spoken)
    for exchange, (first, _, before, second, _, behind) in zip(found, spoken, strict=True):
        for message, body, extra in (
            (exchange.request, first, before),
            (exchange.response, second, behind),
        ):
            assert message.complete
            assert not message.anomalies
            assert message.raw_headers is None
            assert b"".join(message.body.iter_encoded()) == body
            told = [b"%s: %s" % (h.name, h.value) for h in message.headers]
            assert [line for line in told if line.startswith(b"X-")] == extra
    assert [shown(e) for e in found] == [shown(e) for e in exchanges(steps)]


def test_requests_without_end_are_given_up_oldest_first():
    steps = [Said(Direction.C2S, request(target=f"/{n}")) for n in range(1100)]
    steps.append(Said(Direction.S2C, response(body=b"")))
    found = exchanges(steps)
    check(found, steps)
    assert [e.error for e in found[:76]] == ["too_many_waiting"] * 76
    # What answers now answers the first of them: no other request may get its response.
    assert (found[76].request, found[76].response.status) == (None, 200)
    assert [e.request.target for e in found[77:]] == [b"/%d" % n for n in range(76, 1100)]


def test_responses_of_requests_that_were_given_up_are_not_shifted():
    steps = [Said(Direction.C2S, request(target=f"/{n}")) for n in range(1030)]
    answer = response(103) + response(body=b"%02d").replace(b"Length: 4", b"Length: 2")
    steps += [Said(Direction.S2C, answer % n) for n in range(30)]
    found = exchanges(steps)
    check(found, steps)
    told = [(e.request and e.request.target, e.response and e.response.status) for e in found]
    given_up = [(b"/%d" % n, None) for n in range(6)]
    assert told[:12] == given_up + [(None, 200)] * 6
    assert told[12:36] == [(b"/%d" % n, 200) for n in range(6, 30)]
    assert [b"".join(e.response.body.iter_encoded()) for e in found[6:36]] == [
        b"%02d" % n for n in range(30)
    ]
    assert all(len(e.response.informational) == 1 for e in found[6:36])
