"""Valid traffic is read as h11 reads it, an implementation with other ideas and other authors."""

from random import Random

import h11
from builders.http import answers, asks, at_random, encoded, exchanges
from hypothesis import given, settings
from hypothesis import strategies as st

methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
targets = st.text("abc/?=&%20", max_size=12).map(lambda text: "/" + text)
names = st.sampled_from(["Accept", "X-A", "cookie", "User-Agent"])
values = st.text("abc ,;=\"'\t", max_size=12).map(str.strip)
headers = st.lists(st.tuples(names, values), max_size=4)
# None: no body; a list: the pieces of one, each its own chunk where it is chunked.
bodies = st.none() | st.lists(st.binary(min_size=1, max_size=40), max_size=3)
statuses = st.sampled_from([200, 201, 204, 304, 404, 500])
trailers = st.lists(st.tuples(st.just("X-Trailer"), values), max_size=2)
asked = st.tuples(methods, targets, headers, bodies, st.booleans(), trailers)
answered = st.tuples(
    st.lists(st.sampled_from([100, 103]), max_size=2),
    statuses,
    headers,
    bodies,
    st.booleans(),
    trailers,
)


def framed(given_headers, body, chunked):
    if body is None:
        return [*given_headers, ("Content-Length", "0")]
    if chunked:
        return [*given_headers, ("Transfer-Encoding", "chunked")]
    return [*given_headers, ("Content-Length", str(sum(map(len, body))))]


def sent(link, start, body, trailing):
    """What h11 writes for one message."""
    out = link.send(start)
    for piece in body or []:
        out += link.send(h11.Data(data=piece))
    return out + link.send(h11.EndOfMessage(headers=trailing))


def said(link, other, wire):
    """The messages that the other end reads from it: start, body, trailers."""
    other.receive_data(wire)
    found, data = [], b""
    while True:
        match other.next_event():
            case h11.Data() as event:
                data += event.data
            case h11.EndOfMessage() as event:
                return [*found, (data, list(event.headers))]
            case h11.Request() | h11.Response() | h11.InformationalResponse() as event:
                found.append(event)
            case event:
                raise AssertionError((event, link))


def lines(message):
    return [(h.name.lower(), h.value) for h in message.headers]


def talked(turns):
    """Both directions of a connection as h11 writes them, and what h11 reads of it."""
    client, server = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    steps, read = [], []
    for (method, target, extra, body, chunked, trailing), answer in turns:
        start = h11.Request(
            method=method,
            target=target,
            headers=[("Host", "a"), *framed(extra, body, chunked)],
        )
        wire = sent(client, start, body, trailing if chunked and body is not None else [])
        steps.append(asks(wire))
        request = said(client, server, wire)
        steps.append(answers(_answer(server, method, answer)))
        read.append((request, said(server, client, steps[-1].data)))
        for link in (client, server):
            link.start_next_cycle()
    return steps, read


def _answer(server, method, answer):
    informational, status, extra, body, chunked, trailing = answer
    out = b"".join(
        server.send(h11.InformationalResponse(status_code=code, headers=[]))
        for code in informational
    )
    bodiless = method == "HEAD" or status in {204, 304}
    start = h11.Response(status_code=status, headers=framed(extra, body, chunked), reason="So")
    body = None if bodiless else body
    return out + sent(server, start, body, trailing if chunked and body is not None else [])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(asked, answered), min_size=1, max_size=4), st.integers(0, 1 << 16))
def test_valid_traffic_is_read_as_h11_reads_it(turns, seed):
    steps, read = talked(turns)
    found = exchanges(steps, cut=at_random(Random(seed)))
    assert len(found) == len(read)
    for exchange, (asked_events, answered_events) in zip(found, read, strict=True):
        request, (request_body, request_trailers) = asked_events
        assert exchange.request.method.encode() == request.method
        assert exchange.request.target == request.target
        assert lines(exchange.request) == list(request.headers)
        assert encoded(exchange.request) == request_body
        assert [(h.name.lower(), h.value) for h in exchange.request.trailers] == request_trailers
        *informational, response, (body, response_trailers) = answered_events
        assert [m.status for m in exchange.response.informational] == [
            event.status_code for event in informational
        ]
        assert exchange.response.status == response.status_code
        assert exchange.response.reason.encode() == response.reason
        assert lines(exchange.response) == list(response.headers)
        assert encoded(exchange.response) == body
        assert [(h.name.lower(), h.value) for h in exchange.response.trailers] == response_trailers
        assert exchange.request.complete
        assert exchange.response.complete
        assert not exchange.request.anomalies
        assert not exchange.response.anomalies
