import json

from builders.samples import Host

from qtapture.analysis import analyse
from qtapture.replay import iter_json, iter_lines

ASKED = b"POST /a?b=1 HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n\r\nabc"
ANSWERED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Evil: \x1b[2Jgone\r\n"
    b"Content-Length: 6\r\n\r\nhi\r\nyo"
)


def told():
    host = Host()
    curl = host.run("curl", "https://example.com/a")
    socket = curl.connect("10.0.0.2:40000", "93.184.216.34:443")
    ssl = curl.ssl()
    ssl.join(socket)
    ssl.write(ASKED)
    ssl.read(ANSWERED)
    ssl.free()
    socket.close()
    nc = host.run("nc")
    other = nc.connect("10.0.0.2:40001", "10.0.0.9:7")
    other.send(b"\x00binary")
    with host.losing():
        other.send(b"lost")
    other.close()
    curl.exit(1 << 8)
    host.losses()
    return analyse(host.source())


def test_one_line_for_each_exchange_and_one_for_what_had_none():
    exchange, connection, loss = iter_lines(told())
    assert exchange.startswith("2025-11-24T16:00:00.")
    assert "curl[4001]" in exchange
    assert "POST https://example.com/a?b=1 -> 200 OK 6 B 1.0 ms" in exchange
    assert "10.0.0.2:40001 -> 10.0.0.9:7 partial: lost_samples, 11 B c2s, 0 B s2c" in connection
    assert "1 samples of socket, 4 bytes" in loss


def test_verbose_shows_headers_bodies_and_processes():
    lines = list(iter_lines(told(), verbose=True))
    assert "    > POST /a?b=1 HTTP/1.1" in lines
    assert "    > abc" in lines
    assert "    < Content-Type: text/plain" in lines
    assert lines.index("    < hi") + 1 == lines.index("    < yo")
    assert any("exec curl https://example.com/a" in line for line in lines)
    assert any("exited with 1" in line for line in lines)


def test_json_lines_are_ascii_and_parse():
    lines = list(iter_json(told()))
    assert all(line.isascii() and line.isprintable() for line in lines)
    rows = [json.loads(line) for line in lines]
    exchange = next(row for row in rows if row["type"] == "exchange")
    assert exchange["url"] == "https://example.com/a?b=1"
    assert exchange["request"]["body"]["text"] == "abc"
    assert ["X-Evil", "\x1b[2Jgone"] in exchange["response"]["headers"]
    assert {row["type"] for row in rows} == {"exchange", "connection", "process", "gap", "loss"}


def test_replay_is_the_same_each_time():
    assert list(iter_lines(told(), verbose=True)) == list(iter_lines(told(), verbose=True))
    assert list(iter_json(told())) == list(iter_json(told()))
