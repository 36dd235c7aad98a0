"""Missing bytes are never bridged by guessing: what holds them is marked, the next is found."""

import gzip

import pytest
from builders.http import (
    Missing,
    answers,
    asks,
    chunked,
    codes,
    decoded,
    encoded,
    exchanges,
    request,
    response,
)
from builders.traffic import connection

from qtapture.events import Direction

C2S, S2C = Direction
OK = response(body=b"hello")
CHUNKED = b"Transfer-Encoding: chunked"


def test_a_gap_inside_a_body_of_known_length_is_passed():
    said = response(body=b"x" * 100)
    found = exchanges(
        [
            asks(request() * 2),
            answers(said[:-60]),
            Missing(S2C, 50),
            answers(said[-10:] + OK),
        ]
    )
    first, second = (e.response for e in found)
    assert (first.incomplete_reason, first.end, first.wire_size) == ("gap", len(said), len(said))
    assert encoded(first) == b"x" * 50
    assert (second.complete, encoded(second)) == (True, b"hello")


def test_a_gap_that_reaches_the_end_of_a_body_ends_the_message():
    said = response(body=b"x" * 100)
    found = exchanges([asks(request() * 2), answers(said[:-60]), Missing(S2C, 60), answers(OK)])
    assert [e.response.incomplete_reason for e in found] == ["gap", ""]
    assert found[0].response.last_record == 2


def test_a_gap_inside_one_chunk_is_passed():
    said = response(200, CHUNKED) + chunked(b"x" * 100, b"end")
    at = said.index(b"xxx")
    found = exchanges(
        [
            asks(request() * 2),
            answers(said[: at + 10]),
            Missing(S2C, 80),
            answers(said[at + 90 :] + OK),
        ]
    )
    assert encoded(found[0].response) == b"x" * 20 + b"end"
    assert [e.response.incomplete_reason for e in found] == ["gap", ""]


def test_a_gap_beyond_one_chunk_ends_the_message_and_the_next_is_found():
    said = response(200, CHUNKED) + chunked(b"x" * 100, b"end")
    at = said.index(b"xxx")
    found = exchanges(
        [
            asks(request()),
            answers(said[: at + 10]),
            Missing(S2C, 95),
            answers(said[at + 105 :]),
            asks(request(target="/b")),
            answers(OK),
        ]
    )
    assert [e.response.incomplete_reason for e in found] == ["gap", ""]
    assert found[0].response.end == at + 10
    assert found[1].request.target == b"/b"
    assert not codes(found[1].response)


def test_a_gap_of_unknown_length_ends_the_message():
    said = response(body=b"x" * 100)
    found = exchanges(
        [
            asks(request()),
            answers(said[:-60]),
            Missing(S2C, 30, unknown=True),
            answers(said[-30:]),
            asks(request(target="/b")),
            answers(OK),
        ]
    )
    assert [(e.response.incomplete_reason, encoded(e.response)) for e in found] == [
        ("gap", b"x" * 40),
        ("", b"hello"),
    ]


def test_a_gap_inside_a_head_leaves_what_came_of_it():
    asked = request("POST", "/a", b"X-One: 1", b"X-Two: 2", body=b"body")
    at = asked.index(b"X-Two")
    found = exchanges(
        [
            asks(asked[: at + 3]),
            Missing(C2S, 5),
            asks(asked[at + 8 :]),
            answers(OK),
            asks(request(target="/b")),
            answers(OK),
        ]
    )
    first = found[0].request
    assert (first.method, first.target, first.incomplete_reason) == ("POST", b"/a", "gap")
    assert [h.name for h in first.headers] == [b"Host", b"X-One"]
    assert first.raw_headers == b"Host: example.com\r\nX-One: 1\r\nX-T"
    assert found[0].response.status == 200
    assert (found[1].request.target, found[1].request.complete) == (b"/b", True)


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_the_rest_of_a_method_is_none(missing):
    first, second = request(target="/a"), request(target="/b")
    said = [asks(first[missing:]), answers(OK), asks(second), answers(OK)]
    for steps in ([Missing(C2S, missing), *said], [Missing(C2S, 9, unknown=True), *said]):
        found = exchanges(steps)
        assert [e.request and e.request.target for e in found] == [None, b"/b"]
    found = exchanges(said, on=connection(older=True))
    assert [e.request and e.request.target for e in found] == [None, b"/b"]


def test_a_lost_response_does_not_shift_the_ones_behind_it():
    found = exchanges(
        [
            asks(request(target="/a")),
            Missing(S2C, len(OK)),
            asks(request(target="/b")),
            answers(OK),
        ]
    )
    assert [(e.request.target, e.error) for e in found] == [(b"/a", "response_lost"), (b"/b", "")]


def test_a_lost_request_leaves_its_response_alone():
    found = exchanges(
        [
            Missing(C2S, 40),
            answers(response(body=b"a")),
            asks(request(target="/b")),
            answers(response(body=b"b")),
        ]
    )
    assert [(e.request and e.request.target, encoded(e.response)) for e in found] == [
        (None, b"a"),
        (b"/b", b"b"),
    ]


def test_a_gap_until_the_end_of_the_connection_keeps_the_body_open():
    found = exchanges(
        [
            asks(request()),
            answers(response(200) + b"a"),
            Missing(S2C, 5, unknown=True),
            answers(b"z"),
        ]
    )
    assert encoded(found[0].response) == b"az"
    assert found[0].response.incomplete_reason == "gap"


def test_a_coded_body_is_decoded_up_to_its_gap():
    plain = b"".join(b"line %d\n" % n for n in range(5000))
    coded = gzip.compress(plain, mtime=0)
    said = response(200, b"Content-Encoding: gzip", body=coded)
    cut = len(said) - len(coded) // 2
    [found] = exchanges(
        [asks(request()), answers(said[:cut]), Missing(S2C, 100), answers(said[cut + 100 :])]
    )
    body = found.response.body
    assert body.undecodable is None
    assert body.encoded_size == len(coded) - 100
    assert plain.startswith(decoded(found.response))
    assert len(plain) // 4 < body.decoded_size < len(plain)
