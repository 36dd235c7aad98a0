"""Conversations worth having: each is cut, truncated, joined late and holed by the tests."""

import gzip

from builders.http import Step, answers, asks, chunked, head, request, response

OK = response(body=b"hello")

CONVERSATIONS: dict[str, list[Step]] = {
    "one exchange": [asks(request()), answers(OK)],
    "keep-alive": [asks(request()), answers(OK)] * 3,
    "pipelined": [asks(request() + request(target="/b") + request(target="/c")), answers(OK * 3)],
    "a body each way": [asks(request("POST", "/", body=b"x" * 300)), answers(OK)],
    "chunked both ways": [
        asks(request("POST", "/", b"Transfer-Encoding: chunked") + chunked(b"ab", b"c" * 40)),
        answers(
            response(200, b"Transfer-Encoding: chunked")
            + chunked(b"x" * 17, b"y", extension=b";a=b", trailers=[b"Digest: 1", b"Sum: 2"])
        ),
        asks(request()),
        answers(OK),
    ],
    "HEAD": [
        asks(request("HEAD")),
        answers(response(200, b"Content-Length: 5")),
        asks(request()),
        answers(OK),
    ],
    "204 and 304": [
        asks(request() + request()),
        answers(response(204) + response(304, b"Content-Length: 99")),
        asks(request()),
        answers(OK),
    ],
    "100 then 200": [
        asks(request("PUT", "/", b"Expect: 100-continue", body=b"later")[:-5]),
        answers(response(100)),
        asks(b"later"),
        answers(response(103, b"Link: </a>") + OK),
    ],
    "close-delimited": [asks(request()), answers(response(200) + b"until the end")],
    "HTTP/1.0": [asks(b"GET / HTTP/1.0\r\n\r\n"), answers(b"HTTP/1.0 200 OK\r\n\r\nbody")],
    "upgrade": [
        asks(request("GET", "/", b"Upgrade: websocket", b"Connection: Upgrade")),
        answers(response(101, b"Upgrade: websocket") + b"\x81\x02hi"),
        asks(b"\x81\x82abcdef GET / HTTP/1.1\r\n\r\n"),
    ],
    "CONNECT": [
        asks(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        answers(b"HTTP/1.1 200 Established\r\n\r\n"),
        asks(b"\x16\x03\x01GET / HTTP/1.1\r\n\r\n"),
        answers(b"HTTP/1.1 200 no message\r\n\r\n"),
    ],
    "CONNECT refused": [
        asks(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        answers(response(407, body=b"no")),
        asks(request()),
        answers(OK),
    ],
    "LF only": [
        asks(b"GET / HTTP/1.1\nHost: a\n\n"),
        answers(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    ],
    "blank lines before": [asks(b"\r\n\r\n" + request()), answers(b"\n" + OK)],
    "odd headers": [
        asks(
            head(
                b"GET / HTTP/1.1",
                b"Host : a",
                b"X: one\rtwo",
                b"Y: one",
                b"\t two",
                b"Z: caf\xe9",
                b"no colon",
            )
        ),
        answers(OK),
    ],
    "answer before the request's end": [
        asks(request("POST", "/", body=b"x" * 100)[:-60]),
        answers(response(413, body=b"too large")),
        asks(b"x" * 60 + request()),
        answers(OK),
    ],
    "gzip": [
        asks(request()),
        answers(response(200, b"Content-Encoding: gzip", body=gzip.compress(b"a" * 99, mtime=0))),
    ],
    "no answer": [asks(request() + request())],
    "answers alone": [answers(OK + OK)],
    "lengths that disagree": [
        asks(request("POST", "/", b"Content-Length: 3", b"Content-Length: 4") + b"abc"),
        answers(response(200, b"Content-Length: 2, 2") + b"ok"),
    ],
    "length and chunks": [
        asks(
            request("POST", "/", b"Content-Length: 3", b"Transfer-Encoding: chunked")
            + chunked(b"GET / HTTP/1.1")
        ),
        answers(OK),
    ],
    "bytes between": [
        asks(request() + b"nonsense here\r\n" + request()),
        answers(OK + b"????\n" + OK),
    ],
}
