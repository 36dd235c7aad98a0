"""URLs, queries and cookies in HAR, from whatever clients send."""

import pytest
from builders.hars import only, written
from builders.traffic import connection, exchange, request, response, tls_connection


def url(folder, target, *pairs, method="GET", on=None):
    entry = only(written(folder, exchange(on=on, request=request(method, target, *pairs))))
    assert entry["_qtapture"]["target"] == target
    return entry["request"]["url"]


@pytest.mark.parametrize(
    ("target", "url_shown"),
    [
        ("/", "http://example.com/"),
        ("/a b", "http://example.com/a%20b"),
        ("/%zz?<>", "http://example.com/%25zz?%3C%3E"),
        ("/%41%e9", "http://example.com/%41%e9"),
        ("/\xe9\x00\x7f", "http://example.com/%E9%00%7F"),
        ('/"\\^`{|}[]', "http://example.com/%22%5C%5E%60%7B%7C%7D%5B%5D"),
        ("*", "http://example.com/*"),
        ("", "http://example.com/"),
        ("no-slash", "http://example.com/no-slash"),
        ("//other.org/x", "http://example.com//other.org/x"),
        ("javascript:alert(1)", "http://example.com/javascript:alert(1)"),
        ("http://other.org/x?y#z", "http://other.org/x?y%23z"),
        ("HTTP://other.org", "http://other.org/"),
        ("http://other.org?a=1", "http://other.org/?a=1"),
        ("http://me:secret@other.org:81/", "http://me:secret@other.org:81/"),
        ("http://a b@c@[::1]:81/", "http://a%20b%40c@[::1]:81/"),
        ("http:///nowhere", "http://example.com/http:///nowhere"),
        ("ftp://other.org/x", "ftp://other.org/x"),
    ],
)
def test_any_target_becomes_a_url(tmp_path, target, url_shown):
    assert url(tmp_path, target, ("Host", "example.com")) == url_shown


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("example.com", "example.com"),
        ("Example.COM:8080", "Example.COM:8080"),
        ("[::1]:8080", "[::1]:8080"),
        ("[fe80::1%25eth0]:8080", "[fe80::1]:8080"),
        ("[fe80::1%eth0]", "[fe80::1]"),
        ("[nonsense]:80", "%5Bnonsense%5D:80"),
        ("::1", "%3A:1"),
        ("ho st\x07", "ho%20st%07"),
        ("a/b?c#d@e", "a%2Fb%3Fc%23d%40e"),
        ("a:99999", "a%3A99999"),
        ("a:http", "a%3Ahttp"),
        ("a:1:2", "a%3A1:2"),
        ("b\xfccher.example", "b%FCcher.example"),
        ("", "93.184.216.34:443"),
        (":80", "93.184.216.34:443"),
    ],
)
def test_any_host_becomes_an_authority(tmp_path, host, authority):
    assert url(tmp_path, "/", ("Host", host)) == f"http://{authority}/"


@pytest.mark.parametrize(
    ("server", "authority"),
    [
        ("93.184.216.34:443", "93.184.216.34:443"),
        ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ("[fe80::1%eth0]:80", "[fe80::1]:80"),
        ("10.0.0.1:0", "10.0.0.1"),
        (None, "unknown"),
    ],
)
def test_a_request_without_host_names_the_address(tmp_path, server, authority):
    shown = url(tmp_path, "/x", ("Accept", "*/*"), on=connection(server=server))
    assert shown == f"http://{authority}/x"


def test_the_scheme_is_that_of_the_connection(tmp_path):
    assert url(tmp_path, "/", on=tls_connection()) == "https://example.com/"
    assert url(tmp_path, "/", on=connection()) == "http://example.com/"


@pytest.mark.parametrize(
    ("target", "url_shown"),
    [
        ("db.example:5432", "connect://db.example:5432"),
        ("[::1]:1", "connect://[::1]:1"),
        ("a/b c", "connect://a%2Fb%20c"),
        ("", "connect://example.com"),
    ],
)
def test_a_tunnel_is_a_url_of_its_own(tmp_path, target, url_shown):
    assert url(tmp_path, target, method="CONNECT", on=tls_connection()) == url_shown


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        ("a=b=c&d&=e", [("a", "b=c"), ("d", ""), ("", "e")]),
        ("x=%E2%98%83+y%2B", [("x", "☃ y+")]),
        ("x=%FF", [("x", "ÿ")]),
        ("x=%zz%", [("x", "%zz%")]),
        ("&&", []),
        ("a=1?b#c=d", [("a", "1?b")]),
        ("", []),
    ],
)
def test_queries_are_pairs_in_order_decoded(tmp_path, query, pairs):
    entry = only(written(tmp_path, exchange(request=request("GET", f"/?{query}"))))
    found = [(pair["name"], pair["value"]) for pair in entry["request"]["queryString"]]
    assert found == pairs


def test_cookies_are_pairs_in_order_decoded_over_all_headers(tmp_path):
    sent = [("Cookie", 'a=1; b="x=y";  a=3;; c'), ("cookie", "d=%E2%98%83; e=1+1")]
    entry = only(written(tmp_path, exchange(request=request("GET", "/", ("Host", "a"), *sent))))
    assert [(c["name"], c["value"]) for c in entry["request"]["cookies"]] == [
        ("a", "1"),
        ("b", '"x=y"'),
        ("a", "3"),
        ("c", ""),
        ("d", "☃"),
        ("e", "1+1"),
    ]


def set_cookie(folder, *values):
    pairs = [("Set-Cookie", value) for value in values]
    answer = response(200, *pairs)
    return only(written(folder, exchange(request=request(), response=answer)))["response"][
        "cookies"
    ]


def test_cookies_that_are_set_have_their_attributes(tmp_path):
    (cookie,) = set_cookie(
        tmp_path,
        "s=x%3D; path=/a; Domain=.example.com; EXPIRES=Wed, 21 Oct 2026 07:28:00 GMT; "
        "HttpOnly; secure; SameSite=Lax; Max-Age=3; Path=/b",
    )
    assert cookie == {
        "name": "s",
        "value": "x=",
        "path": "/b",
        "domain": ".example.com",
        "expires": "2026-10-21T07:28:00Z",
        "httpOnly": True,
        "secure": True,
        "sameSite": "Lax",
    }


@pytest.mark.parametrize(
    "date", ["", "soon", "Wed, 99 Oct 2026 07:28:00 GMT", "0", "Wed, 21 Oct 99999999 07:28:00 GMT"]
)
def test_a_date_that_is_none_is_left_out(tmp_path, date):
    (cookie,) = set_cookie(tmp_path, f"a=b; Expires={date}")
    assert cookie == {"name": "a", "value": "b"}


def test_each_header_sets_one_cookie_whatever_is_in_it(tmp_path):
    found = set_cookie(tmp_path, "a=1, b=2", "", "=v", "a=1")
    assert [(c["name"], c["value"]) for c in found] == [
        ("a", "1, b=2"),
        ("", ""),
        ("", "v"),
        ("a", "1"),
    ]
