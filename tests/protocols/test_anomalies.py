"""What is odd is shown as it was, and marked by the documented codes."""

import re
from pathlib import Path

import pytest
from builders.http import answers, asks, chunked, codes, encoded, exchanges, head, request, response

from qtapture.protocols.anomalies import AnomalyCode

PAGE = Path(__file__).resolve().parents[2] / "docs" / "anomalies.md"
GET = b"GET / HTTP/1.1"
HOST = b"Host: a"
OK = response(body=b"hello")
CHUNKED = b"Transfer-Encoding: chunked"

# code: what a client says (the response is plain), and the offset of the mark
REQUESTS = {
    "bare_cr": (head(GET, HOST, b"A: b\rc"), 25),
    "bare_lf": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 14),
    "leading_blank_line": (b"\r\n\r\n" + head(GET, HOST), 0),
    "bad_start_line": (head(b"GET  / HTTP/1.1", HOST), 0),
    "bad_header_line": (head(GET, HOST, b"no colon"), 25),
    "bad_header_name": (head(GET, HOST, b"a b: c"), 25),
    "folded_header": (head(GET, HOST, b"A: b", b" c"), 31),
    "space_before_colon": (head(GET, HOST, b"A : b"), 25),
    "control_character": (head(GET, HOST, b"A: \0"), 25),
    "non_ascii": (head(GET, HOST, b"A: \xe9"), 25),
    "headers_too_large": (head(GET, HOST, b"A: " + b"x" * (300 << 10)), 0),
    "missing_host": (head(GET), 0),
    "duplicate_host": (head(GET, HOST, HOST), 0),
    "bad_content_length": (head(GET, HOST, b"Content-Length: -1"), 0),
    "duplicate_content_length": (head(GET, HOST, b"Content-Length: 0", b"Content-Length: 0"), 0),
    "conflicting_content_length": (head(GET, HOST, b"Content-Length: 0, 1"), 0),
    "cl_and_te": (head(GET, HOST, b"Content-Length: 9", CHUNKED) + chunked(), 0),
    "chunked_not_last": (head(GET, HOST, b"Transfer-Encoding: chunked, gzip"), 0),
    "bad_chunk_size": (head(GET, HOST, CHUNKED) + b"xyz\r\n", 55),
    "bad_chunk_end": (head(GET, HOST, CHUNKED) + b"2\r\nab0\r\n\r\n", 60),
}


@pytest.mark.parametrize("code", REQUESTS)
def test_each_is_marked_with_its_code_and_place(code):
    said, offset = REQUESTS[code]
    [found] = exchanges([asks(said), answers(OK)])
    [anomaly] = found.request.anomalies
    assert (anomaly.code, anomaly.offset, anomaly.message) == (code, offset, "request")
    assert not codes(found.response)


def test_bytes_between_messages_are_counted():
    found = exchanges([asks(request() * 2), answers(OK + b"\0\1\2\r\n" + OK)])
    [anomaly] = found[1].response.anomalies
    assert (anomaly.code, anomaly.offset, anomaly.detail) == (
        "bytes_between_messages",
        len(OK),
        "5 bytes",
    )
    assert [encoded(e.response) for e in found] == [b"hello", b"hello"]


def test_every_code_is_tested_and_documented():
    assert {*REQUESTS, "bytes_between_messages"} == {code.value for code in AnomalyCode}
    section = PAGE.read_text().partition("## Codes")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [
        code.value for code in AnomalyCode
    ]


def test_every_incomplete_reason_and_error_in_the_code_is_documented():
    text = PAGE.read_text()
    for source in (PAGE.parents[1] / "qtapture" / "protocols").glob("*.py"):
        words = re.findall(r'_(?:give_up|end|give)\((?:[^"()]|\(\))*"(\w+)"', source.read_text())
        for word in words:
            assert f"`{word}`" in text, word


def header_of(said):
    [found] = exchanges([asks(said), answers(OK)])
    return found.request


def test_a_folded_value_is_joined_by_one_space_and_its_bytes_are_kept():
    message = header_of(b"GET / HTTP/1.1\r\nHost: a\r\nX : one  \r\n\t  two\r\n\r\n")
    assert (message.headers[1].name, message.headers[1].value) == (b"X", b"one two")
    assert message.raw_headers == b"Host: a\r\nX : one  \r\n\t  two\r\n\r\n"
    assert codes(message) == ["space_before_colon", "folded_header"]


def test_a_carriage_return_alone_is_part_of_the_value():
    message = header_of(head(GET, HOST, b"X: a\rY: b"))
    assert message.header("x") == b"a\rY: b"
    assert message.header("y") is None


def test_utf8_is_not_odd():
    message = header_of(head(GET, HOST, "X: café".encode()))
    assert not codes(message)
    assert message.raw_headers is None


def test_order_case_and_duplicates_survive():
    lines = [HOST, b"set-COOKIE: 1", b"Accept:*/*", b"Set-Cookie: 2", b"X:", b"Y:   z\t"]
    message = header_of(head(GET, *lines))
    assert [(h.name, h.value) for h in message.headers] == [
        (b"Host", b"a"),
        (b"set-COOKIE", b"1"),
        (b"Accept", b"*/*"),
        (b"Set-Cookie", b"2"),
        (b"X", b""),
        (b"Y", b"z"),
    ]


def test_unequal_lengths_the_first_delimits():
    said = request("POST", "/", b"Content-Length: 3", b"Content-Length: 8") + b"abc" + request()
    found = exchanges([asks(said), answers(OK + OK)])
    assert encoded(found[0].request) == b"abc"
    assert found[0].request.anomalies[0].detail == "3, 8"
    assert found[1].request.complete


def test_chunked_delimits_beside_a_length():
    said = request("POST", "/", b"Content-Length: 3", CHUNKED) + chunked(b"abcdef") + request()
    found = exchanges([asks(said), answers(OK + OK)])
    assert encoded(found[0].request) == b"abcdef"
    assert codes(found[0].request) == ["cl_and_te"]
    assert found[1].request.complete


@pytest.mark.parametrize("value", [b"99999999999999999999999", b"0x10", b"+5", b"5 5", b""])
def test_a_length_that_is_none_does_not_delimit(value):
    [found] = exchanges(
        [asks(request()), answers(response(200, b"Content-Length: " + value) + b"hi")]
    )
    assert codes(found.response) == ["bad_content_length"]
    assert encoded(found.response) == b"hi"


@pytest.mark.parametrize("status", [b"000", b"099", b"600", b"999"])
def test_a_status_that_none_can_be_is_shown_and_marked(status):
    said = b"HTTP/1.1 " + status + b" Odd\r\nContent-Length: 2\r\n\r\nhi"
    [found] = exchanges([asks(request()), answers(said)])
    assert (found.response.status, found.response.complete) == (int(status), True)
    assert codes(found.response) == ["bad_start_line"]


def test_zeros_before_a_size_are_no_size():
    zeros = b"0" * 5000
    said = response(200, b"Content-Length: " + zeros + b"2") + b"hi"
    said += response(200, CHUNKED) + zeros + b"2\r\nhi\r\n" + zeros + b"\r\n\r\n"
    found = exchanges([asks(request() + request()), answers(said)])
    assert [(encoded(e.response), e.response.complete) for e in found] == [(b"hi", True)] * 2
    assert codes(*(e.response for e in found)) == []


def test_chunked_twice_is_marked_and_read_once():
    said = response(200, CHUNKED, CHUNKED) + b"2\r\nhi\r\n0\r\n\r\n"
    [found] = exchanges([asks(request()), answers(said)])
    assert codes(found.response) == ["chunked_not_last"]
    assert (encoded(found.response), found.response.complete) == (b"hi", True)


def test_an_absurd_length_is_believed_and_costs_nothing():
    said = response(200, b"Content-Length: 9999999999999999999") + b"hi"
    [found] = exchanges([asks(request()), answers(said)])
    assert (encoded(found.response), found.response.incomplete_reason) == (b"hi", "cut")


def test_an_absurd_chunk_is_believed_and_costs_nothing():
    said = response(200, CHUNKED) + b"ffffffffffffffff\r\nhi"
    [found] = exchanges([asks(request()), answers(said)])
    assert (encoded(found.response), found.response.incomplete_reason) == (b"hi", "cut")


def test_chunks_that_end_in_lf_are_read_and_marked_once():
    said = response(200, CHUNKED) + b"1\na\n1\nb\n0\n\n"
    [found] = exchanges([asks(request()), answers(said)])
    assert encoded(found.response) == b"ab"
    assert codes(found.response) == ["bare_lf"]


def test_after_bad_chunks_the_next_message_is_found():
    broken = response(200, CHUNKED) + b"1\r\na\r\nnothing\r\nmore\r\n"
    found = exchanges([asks(request()), answers(broken), asks(request()), answers(OK)])
    assert [e.response.incomplete_reason for e in found] == ["malformed", ""]
    assert encoded(found[0].response) == b"a"


def test_a_target_with_blanks_is_shown_whole():
    message = header_of(head(b"GET /a b\tc HTTP/1.1", HOST))
    assert message.target == b"/a b\tc"
    assert codes(message) == ["bad_start_line"]


def test_a_bomb_of_oddities_leaves_a_bounded_number_of_marks():
    lines = [b"a\0 b%d" % n for n in range(5000)]
    message = header_of(head(GET, *lines))
    assert len(message.headers) == 5000
    assert len(message.anomalies) < 10
