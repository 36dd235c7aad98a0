"""How messages end, and which response answers which request (RFC 9112 6.3, RFC 9110)."""

import pytest
from builders.http import (
    answers,
    asks,
    bytewise,
    chunked,
    codes,
    encoded,
    exchanges,
    head,
    request,
    response,
    shown,
)
from builders.traffic import CURL, MS, START_NS, connection, process

OK = response(body=b"hello")


def one(*said, **more):
    [exchange] = exchanges(said, **more)
    return exchange


def bodies(found):
    return [encoded(e.response) if e.response else None for e in found]


def test_a_message_is_known_by_its_place_time_and_samples():
    asked = request("POST", "/x?y=1", b"A: 1", body=b"body")
    found = one(asks(asked[:-2]), asks(asked[-2:]), answers(OK))
    message = found.request
    assert (message.method, message.target, message.version) == ("POST", b"/x?y=1", "HTTP/1.1")
    assert [(h.name, h.value) for h in message.headers] == [
        (b"Host", b"example.com"),
        (b"A", b"1"),
        (b"Content-Length", b"4"),
    ]
    assert (message.offset, message.end, message.wire_size) == (0, len(asked), len(asked))
    assert message.headers_size == len(asked) - 4
    assert (message.first_ns, message.last_ns) == (START_NS + MS, START_NS + 2 * MS)
    assert (message.first_record, message.last_record) == (1, 2)
    assert message.raw_headers is None
    assert found.response.reason == "Because"
    assert found.response.first_record == 3
    assert found.process == CURL
    assert found.first_on_connection
    assert found.number == 0


def test_pipelined_requests_are_answered_in_order():
    asked = b"".join(request(target=f"/{n}") for n in range(5))
    found = exchanges([asks(asked), answers(b"".join(response(body=b"%d" % n) for n in range(5)))])
    assert [e.request.target for e in found] == [b"/0", b"/1", b"/2", b"/3", b"/4"]
    assert bodies(found) == [b"0", b"1", b"2", b"3", b"4"]
    assert [e.index for e in found] == [1, 2, 3, 4, 5]
    assert [e.first_on_connection for e in found] == [True, False, False, False, False]


def test_chunks_are_joined_and_trailers_are_no_headers():
    said = response(200, b"Transfer-Encoding: chunked") + chunked(
        b"ab", b"cdef", extension=b' ;x="1"', trailers=[b"Sum: 6", b"Sum: 7"]
    )
    message = one(asks(request()), answers(said)).response
    assert encoded(message) == b"abcdef"
    assert message.body.encoded_size == 6
    assert [h.value for h in message.trailers] == [b"6", b"7"]
    assert [h.name for h in message.headers] == [b"Transfer-Encoding"]
    assert message.wire_size == len(said)
    assert not codes(message)


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)]
)
def test_some_responses_have_no_body_whatever_their_headers_say(method, status):
    for line in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
        said = [
            asks(request(method)),
            answers(response(status, line)),
            asks(request()),
            answers(OK),
        ]
        assert bodies(exchanges(said)) == [b"", b"hello"]


def test_informational_responses_are_part_of_the_exchange():
    said = [asks(request()), answers(response(100) + response(103, b"Link: </a>") + OK)]
    found = one(*said)
    assert found.response.status == 200
    assert [m.status for m in found.response.informational] == [100, 103]
    assert found.response.informational[1].header("link") == b"</a>"


def test_an_informational_response_that_nothing_follows_is_the_response():
    found = one(asks(request()), answers(response(102) + response(103)))
    assert found.response.status == 103
    assert [m.status for m in found.response.informational] == [102]


def test_switching_protocols_is_the_answer_and_the_rest_is_opaque():
    asked = request("GET", "/", b"Upgrade: websocket")
    found = one(
        asks(asked), answers(response(101) + b"\x81\x05hello"), asks(request()), answers(OK)
    )
    assert found.response.status == 101
    assert found.response.complete
    assert encoded(found.response) == b""


def test_an_accepted_connect_is_a_tunnel_and_a_refused_one_is_not():
    connect = head(b"CONNECT a:443 HTTP/1.1", b"Host: a:443")
    accepted = head(b"HTTP/1.1 200 Yes", b"Content-Length: 5")
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n"
    found = one(asks(connect), answers(accepted), asks(hello), answers(hello), asks(request()))
    assert (found.request.target, found.response.status) == (b"a:443", 200)
    assert encoded(found.response) == b""
    refused = exchanges(
        [asks(connect), answers(response(403, body=b"no")), asks(request()), answers(OK)]
    )
    assert bodies(refused) == [b"no", b"hello"]


def test_http_in_the_clear_inside_a_tunnel_is_read():
    connect = head(b"CONNECT a:80 HTTP/1.1", b"Host: a:80")
    said = [asks(connect), answers(b"HTTP/1.1 200 Yes\r\n\r\n"), asks(request()), answers(OK)]
    outside, inside = exchanges(said)
    assert (outside.request.method, inside.request.method) == ("CONNECT", "GET")
    assert encoded(inside.response) == b"hello"
    assert [shown(e) for e in exchanges(said, cut=bytewise)] == [shown(outside), shown(inside)]


def test_what_is_said_inside_tls_in_a_tunnel_is_a_conversation_of_its_own():
    from builders.traffic import Talk

    from qtapture.events import Segment
    from qtapture.protocols.conversation import Conversation

    talk = Talk(connection(), plaintext=False)
    talk.client(head(b"CONNECT a:443 HTTP/1.1", b"Host: a:443"))
    talk.server(b"HTTP/1.1 200 Yes\r\n\r\n")
    talk.plaintext = True
    talk.client(request(target="/inside")).server(OK)
    conversation = Conversation(talk.connection)
    found = [e for s in talk.items if isinstance(s, Segment) for e in conversation.feed(s)]
    assert [(e.index, e.request.method, e.request.target) for e in found] == [
        (1, "CONNECT", b"a:443"),
        (2, "GET", b"/inside"),
    ]


def test_a_body_without_a_length_ends_with_the_connection():
    said = [asks(request()), answers(response(200) + b"to the"), answers(b" end")]
    closed = one(*said).response
    assert (encoded(closed), closed.complete) == (b"to the end", True)
    assert closed.last_ns == START_NS + 3 * MS
    unclosed = one(*said, on=connection(closed_ns=None)).response
    assert encoded(unclosed) == b"to the end"
    assert unclosed.incomplete_reason == "close_delimited_unclosed"


def test_each_exchange_is_given_once():
    said = [asks(request() * 2), answers(OK + response(200) + b"end")]
    assert [e.index for e in exchanges(said)] == [1, 2]


def test_a_message_that_is_cut_ends_with_its_last_byte():
    found = one(asks(request()), answers(OK[:-2]))
    assert (encoded(found.response), found.response.incomplete_reason) == (b"hel", "cut")
    assert found.response.end == len(OK) - 2
    assert found.response.last_ns == START_NS + 2 * MS
    assert found.response.last_record == 2


def test_a_head_that_is_cut_is_shown_as_far_as_it_came():
    found = one(asks(b"GET /a HTTP/1.1\r\nHost: a\r\nUser-Ag"))
    assert found.error == "no_response"
    assert found.request.incomplete_reason == "cut"
    assert [(h.name, h.value) for h in found.request.headers] == [(b"Host", b"a")]
    assert found.request.raw_headers == b"Host: a\r\nUser-Ag"
    assert not codes(found.request)


def test_a_request_without_a_response_says_so():
    found = exchanges([asks(request() * 3), answers(OK)])
    assert [e.error for e in found] == ["", "no_response", "no_response"]


def test_a_response_without_a_request_is_shown():
    found = one(answers(OK), on=connection(owner=process(7, "nginx")))
    assert found.request is None
    assert encoded(found.response) == b"hello"
    assert found.process.comm == "nginx"


def test_a_response_may_come_before_the_request_has_ended():
    asked = request("POST", "/", body=b"x" * 100)
    found = exchanges(
        [
            asks(asked[:-50]),
            answers(response(413, body=b"no")),
            asks(asked[-50:] + request()),
            answers(OK),
        ]
    )
    assert [e.response.status for e in found] == [413, 200]
    assert found[0].request.complete
    assert found[0].request.last_ns > found[0].response.last_ns


def test_a_body_that_a_refusal_kept_from_being_sent_does_not_swallow_the_next_request():
    asked = request("PUT", "/", b"Expect: 100-continue", b"Content-Length: 999")
    found = exchanges([asks(asked), answers(response(417, body=b"")), asks(request()), answers(OK)])
    assert [e.request.method for e in found] == ["PUT", "GET"]
    assert found[0].request.incomplete_reason == "body_not_sent"
    assert found[1].request.complete
    assert not codes(found[1].request)


def test_another_protocol_is_opaque():
    for said in (
        b"\x16\x03\x01\x02\x00\x01" + request(),
        b"SSH-2.0-OpenSSH_9.2\r\n" + request(),
        b"EHLO host\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + request(),
        b"*1\r\n$4\r\nPING\r\n",
    ):
        assert exchanges([asks(said), answers(b"\0\0\6\4\0\0\0\0\0"), asks(request())]) == []


def test_opaque_bytes_cost_no_memory():
    import tracemalloc

    from builders.http import traffic

    from qtapture.protocols.conversation import Conversation

    noise = bytes(range(128, 256)) * 128
    on = connection()
    conversation = Conversation(on)
    segments = list(traffic([asks(noise), answers(noise)], on))
    tracemalloc.start()
    for _ in range(200):
        for segment in segments:
            assert conversation.feed(segment) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
