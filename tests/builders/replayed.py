"""Both passes over an imaginary host, and what they told."""

from qtapture.events import (
    Gap,
    Segment,
)
from qtapture.reassembly import SideChoice, iter_traffic, survey

CLIENT = "10.0.0.2:40000"
SERVER = "93.184.216.34:443"


def replayed(host, side=SideChoice.BEST, shuffle=None):
    source = host.source(shuffle)
    plan = survey(source, side=side)
    items = list(iter_traffic(source, plan))
    times = [item.time_ns for item in items]
    assert times == sorted(times)
    return plan, items


def told(items, direction, number=1):
    """Bytes of a direction; gaps as (length, reason)."""
    parts = []
    for item in items:
        if not isinstance(item, Segment | Gap) or item.connection.number != number:
            continue
        if item.direction != direction:
            continue
        if isinstance(item, Segment):
            if parts and isinstance(parts[-1], bytes):
                parts[-1] += item.data
            else:
                parts.append(item.data)
        else:
            parts.append((item.length, item.reason.value))
    return parts


def codes(connection):
    return [reason.code for reason in connection.reasons]


def tls_talk(host):
    host.library()
    curl = host.run("curl", "https://example.com/")
    socket = curl.connect(CLIENT, SERVER)
    ssl = curl.ssl()
    ssl.join(socket)
    ssl.write(b"GET / HTTP/1.1\r\n\r\n")
    ssl.read(b"HTTP/1.1 200 OK\r\n\r\n")
    return socket, ssl


def both_ends(host, netns=0):
    nginx = host.run("nginx")
    curl = host.run("curl")
    client = curl.connect("127.0.0.1:40000", "127.0.0.1:80")
    over = {"netns": netns} if netns else {}
    server = nginx.accept("127.0.0.1:80", "127.0.0.1:40000", **over)
    client.send(b"ping")
    server.receive(b"ping")
    server.send(b"pong")
    client.receive(b"pong")
    client.close()
    server.close()
    return client, server
