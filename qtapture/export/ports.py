"""Which addresses and ports each connection has in a pcapng: real ones, unless that misleads.

Rule 1: plaintext of TLS is never shown on a port where readers expect TLS.
Rule 2: two connections that are alive together never share addresses and ports; where plaintext
was given another server port, it shares them with nobody in the whole file.
Rule 3: whatever is not as it was, is said so (`Shown.remark`).
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace

from qtapture.events import Connection, Endpoint, Verdict
from qtapture.export.packets import Place

__all__ = ["PLAIN_PORTS", "PortPlan", "Shown", "shows_plaintext"]

# The port where tshark 4.0 dissects the plaintext of what runs on TLS at the port on the left.
PLAIN_PORTS = {
    443: 80,
    465: 25,
    636: 389,
    853: 53,
    990: 21,
    993: 143,
    995: 110,
    5061: 5060,
    5671: 5672,
    6380: 6379,
    6697: 6667,
    8443: 8080,
    8883: 1883,
}
# All of these are HTTP to readers, HTTP/2 included, which no other port is.
_HTTP_PORTS = (80, 8080, 8088)
_HTTP2 = "h2"

# Client ports given where the real one is taken: downwards from the top, none privileged.
_HIGHEST_PORT = 65_535
_LOWEST_PORT = 1_024
# Unknown ends: fd51:5441::/32 is ours by RFC 4193's prefix ("QT" twice removed from "fd").
# 198.18.0.0/15 is for benchmarks (RFC 2544), hence never a real peer.
_SYNTHETIC_V6 = int(ipaddress.IPv6Address("fd51:5441::"))
_SYNTHETIC_V4 = int(ipaddress.IPv4Address("198.18.0.0"))
_SYNTHETIC_V4_MASK = (1 << 17) - 1
_FIRST_EPHEMERAL = 49_152
_EPHEMERALS = 16_384
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"  # ::ffff:a.b.c.d, RFC 4291 2.5.5.2
_IPV4_BYTES = 4

_Tuple = tuple[bytes, int, bytes, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A connection's two ends as packets show them; ``remark`` is what differs, or empty."""

    client: Place
    server: Place
    remark: str = ""

    @property
    def key(self) -> _Tuple:
        """What readers tell TCP connections apart by."""
        return (self.client.address, self.client.port, self.server.address, self.server.port)


class PortPlan:
    """Ends for every connection of the survey, and for what continues one of them."""

    def __init__(self, connections: Iterable[Connection]) -> None:
        self._shown: dict[int, Shown] = {}
        self._taken: dict[_Tuple, int] = {}  # with the end of its last holder's life
        self._cursors: dict[tuple[bytes, bytes, int], int] = {}
        moved = []
        # What is shown as it was comes first, so that what is moved gives way to it.
        for connection in connections:
            natural = _natural(connection)
            if natural.remark:
                moved.append((connection, natural))
            else:
                self._keep(connection, natural)
        for connection, natural in moved:
            self._place(connection, natural)

    def shown(self, connection: Connection) -> Shown:
        """The ends of a connection; one that the survey did not have is placed now."""
        if connection.number not in self._shown:
            self._place(connection, _natural(connection))
        return self._shown[connection.number]

    def continuation(self, shown: Shown) -> Shown:
        """The same hosts and server port, and a client port that nobody has."""
        return self._other_client_port(replace(shown, remark=""))

    def _keep(self, connection: Connection, natural: Shown) -> None:
        end_ns = self._taken.get(natural.key)
        if end_ns is not None and connection.first_ns <= end_ns:
            # The same addresses and ports at the same time: another network namespace.
            self._place(connection, natural)
            return
        self._taken[natural.key] = max(connection.last_ns, end_ns or 0)
        self._shown[connection.number] = natural

    def _place(self, connection: Connection, natural: Shown) -> None:
        for candidate in _candidates(natural):
            if candidate.key not in self._taken:
                chosen = candidate
                break
        else:
            chosen = self._other_client_port(natural)
        self._taken[chosen.key] = connection.last_ns
        self._shown[connection.number] = replace(chosen, remark=_remark(connection, chosen))

    def _other_client_port(self, shown: Shown) -> Shown:
        hosts = (shown.client.address, shown.server.address, shown.server.port)
        port = self._cursors.get(hosts, _HIGHEST_PORT)
        chosen = shown
        while port >= _LOWEST_PORT:
            chosen = replace(shown, client=replace(shown.client, port=port))
            port -= 1
            if chosen.key not in self._taken:
                break
        # When 64,000 are used up the last one repeats: readers then call it a reused port.
        self._cursors[hosts] = port
        self._taken[chosen.key] = 0
        return chosen


def shows_plaintext(connection: Connection) -> bool:
    """Whether what is shown of it was had from TLS calls, wholly or in one direction."""
    opaque = connection.verdict_c2s == connection.verdict_s2c == Verdict.OPAQUE
    unjoined = connection.client is None and connection.server is None
    return (connection.encrypted or unjoined) and not opaque


def _natural(connection: Connection) -> Shown:
    """The ends it would have if it were alone, with a remark where they are not the real ones."""
    client, server = _family(_packed(connection.client), _packed(connection.server))
    known = client is not None and server is not None and connection.transport == "tcp"
    if not known:
        client, server = _synthetic(connection.number, client, server)
    assert client is not None  # noqa: S101 - for the type checker: _synthetic fills both
    assert server is not None  # noqa: S101
    chosen = Shown(
        client=Place(address=client, port=_client_port(connection)),
        server=Place(address=server, port=_server_port(connection)),
    )
    return replace(chosen, remark=_remark(connection, chosen))


def _client_port(connection: Connection) -> int:
    given = connection.client.port if connection.client else 0
    return given or _FIRST_EPHEMERAL + connection.number % _EPHEMERALS


def _server_port(connection: Connection) -> int:
    given = (connection.server.port if connection.server else 0) or _HTTP_PORTS[0]
    if not shows_plaintext(connection):
        return given
    if given in PLAIN_PORTS:
        return PLAIN_PORTS[given]
    alpn = connection.tls.alpn if connection.tls else None
    return _HTTP_PORTS[0] if alpn == _HTTP2 and given not in _HTTP_PORTS else given


def _candidates(natural: Shown) -> Iterable[Shown]:
    yield natural
    if natural.server.port in _HTTP_PORTS:
        for port in _HTTP_PORTS:
            yield replace(natural, server=replace(natural.server, port=port))


def _remark(connection: Connection, shown: Shown) -> str:
    parts = []
    for name, real, place in (
        ("client", connection.client, shown.client),
        ("server", connection.server, shown.server),
    ):
        if real is None:
            parts.append(f"{name} address unknown, shown as {_place_text(place)}")
        elif _packed(real) not in (place.address, _unmapped(place.address)):
            parts.append(f"{name} {real.ip} port {real.port} shown as {_place_text(place)}")
        elif real.port != place.port:
            parts.append(f"{name} port {real.port or 'unknown'} shown as {place.port}")
    return ", ".join(parts)


def _place_text(place: Place) -> str:
    address = ipaddress.ip_address(place.address)
    return f"{address} port {place.port}"


def _packed(endpoint: Endpoint | None) -> bytes | None:
    if endpoint is None:
        return None
    try:
        # A zone (fe80::1%eth0) has no place in a packet.
        return ipaddress.ip_address(endpoint.ip.partition("%")[0]).packed
    except ValueError:
        return None


def _unmapped(address: bytes) -> bytes:
    return address.removeprefix(_MAPPED_PREFIX)


def _family(client: bytes | None, server: bytes | None) -> tuple[bytes | None, bytes | None]:
    """Both of one family: an IPv4 address beside an IPv6 one is written as mapped."""
    if client is None or server is None or len(client) == len(server):
        return client, server
    return _as_ipv6(client), _as_ipv6(server)


def _as_ipv6(address: bytes) -> bytes:
    return _MAPPED_PREFIX + address if len(address) == _IPV4_BYTES else address


def _synthetic(number: int, client: bytes | None, server: bytes | None) -> tuple[bytes, bytes]:
    known = client or server
    if known is not None and len(known) == _IPV4_BYTES:
        invented = (_SYNTHETIC_V4 + (number & _SYNTHETIC_V4_MASK)).to_bytes(4, "big")
        return client or invented, server or invented
    # fd51:5441::1:N for a client and ::2:N for a server, N the connection's number in 32 bits.
    ends = ((_SYNTHETIC_V6 | end << 32 | number & 0xFFFFFFFF).to_bytes(16, "big") for end in (1, 2))
    first, second = ends
    return client or first, server or second
