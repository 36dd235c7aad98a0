"""The rules that HARs are held to do find what they are for, in anybody's HAR."""

from collections.abc import Callable

import pytest
from builders.har_rules import violations


def plain() -> dict:
    """The least that is a good HAR, without a word of ours."""
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "somebody", "version": "1"},
            "pages": [],
            "entries": [entry("2026-01-01T00:00:00.123456789Z"), entry("2026-01-01T00:00:01Z")],
        }
    }


def entry(start: str) -> dict:
    return {
        "startedDateTime": start,
        "time": 36.5,
        "request": {
            "method": "GET",
            "url": "https://example.com/",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [],
            "queryString": [],
            "headersSize": -1,
            "bodySize": 0,
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [],
            "content": {"size": 5, "compression": 2, "mimeType": "text/plain", "text": "hello"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": 3,
        },
        "cache": {},
        "timings": {"dns": -1, "connect": 20, "ssl": 10, "send": 1, "wait": 15, "receive": 0.5},
        "serverIPAddress": "::1",
        "connection": "443",
    }


def test_a_plain_har_breaks_no_rule():
    assert violations(plain()) == []


def change(*path: str | int, to: object) -> Callable[[dict], None]:
    def apply(first: dict) -> None:
        *where, last = path
        for key in where:
            first = first[key]
        first[last] = to

    return apply


def remove(*path: str) -> Callable[[dict], None]:
    def apply(first: dict) -> None:
        *where, last = path
        for key in where:
            first = first[key]
        del first[last]

    return apply


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (change("time", to=46.5), "time is not the sum"),  # ssl counted twice
        (change("time", to=float("nan")), "is no number"),
        (change("timings", "ssl", to=21), "ssl does not lie inside connect"),
        (change("timings", "wait", to=-2), "a phase is negative"),
        (change("timings", "wait", to=-1), "send, wait or receive is missing"),
        (change("response", "content", "size", to=3), "compression is not size"),
        (remove("response", "content", "compression"), "encoded content without compression"),
        (change("response", "content", "text", to="hello!"), "size is not that of the content"),
        (change("response", "content", "encoding", to="base64"), "size is not that"),
        (change("response", "bodySize", to=-5), "a size is less than -1"),
        (remove("response", "content", "mimeType"), "schema: "),
        (remove("connection"), "no connection id"),
        (change("connection", to="main"), "connection is no port"),
        (change("connection", to=443), "schema: "),
        (change("serverIPAddress", to="[::1]"), "schema: "),
        (change("serverIPAddress", to=""), "schema: "),
        (change("request", "url", to="no url"), "schema: "),
        (change("request", "url", to="http://a/\n"), "control characters"),
        (change("request", "postData", to={"mimeType": "a/b"}), "postData without text"),
        (change("startedDateTime", to="2026-01-01T00:00:02Z"), "not in order of time"),
        (change("startedDateTime", to="2026-13-01T00:00:00Z"), "schema: "),
        (change("response", "status", to=0), "no word why"),
        (remove("cache"), "cache"),
    ],
)
def test_a_spoiled_har_is_found(spoil, complaint):
    har = plain()
    spoil(har["log"]["entries"][0])
    assert any(complaint in found for found in violations(har))


def test_pages_are_wanted():
    har = plain()
    del har["log"]["pages"]
    assert violations(har) == ["pages are missing"]
