"""Targets of requests as URLs, and the pairs in them; what is no URI becomes one by escaping.

formats/har-profile.md: as it was, the target stands beside.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote_to_bytes

from qtapture.events import Connection, Endpoint, Message
from qtapture.export.attribution import text_of

__all__ = ["full_url", "host_of", "percent_decoded", "place_of", "query_pairs"]

# RFC 3986: unreserved and sub-delims; an escape stays one, a lone per cent sign is escaped.
_ESCAPE = rb"%(?![0-9A-Fa-f]{2})"
_PLAIN = rb"A-Za-z0-9\-._~!$&'()*+,;=%"
_NOT_IN_PATH = re.compile(rb"[^" + _PLAIN + rb":@/?]|" + _ESCAPE)
_NOT_IN_USER = re.compile(rb"[^" + _PLAIN + rb":]|" + _ESCAPE)
_NOT_IN_HOST = re.compile(rb"[^" + _PLAIN + rb"]|" + _ESCAPE)

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]{0,31})://([^/?#]*)(.*)", re.DOTALL)
_HOST_PORT = re.compile(rb"(\[[^\]]*\]|.*?)((?::[0-9]{0,5})?)", re.DOTALL)
_PORT_ALONE = re.compile(rb"(?::[0-9]*)?")
_MOST_PORT = 65535


def full_url(request: Message, connection: Connection) -> str:
    """The URL that a request asked for."""
    target = request.target
    if request.method == "CONNECT":
        return f"connect://{_authority(target) if target else host_of(request, connection)}"
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute and _names_a_host(absolute[2].rpartition(b"@")[2]):
        scheme, place, rest = absolute.groups()
        user, at, host = place.rpartition(b"@")
        who = _escaped(user, _NOT_IN_USER) + at.decode()
        path = rest if rest.startswith(b"/") else b"/" + rest
        return f"{scheme.decode().lower()}://{who}{_authority(host)}{_escaped(path, _NOT_IN_PATH)}"
    scheme_name = "https" if connection.encrypted else "http"
    path = target if target.startswith(b"/") else b"/" + target
    return f"{scheme_name}://{host_of(request, connection)}{_escaped(path, _NOT_IN_PATH)}"


def host_of(request: Message, connection: Connection) -> str:
    """The authority: what the client said, else where it was connected to."""
    said = request.header("host")
    if said and _names_a_host(said):
        return _authority(said)
    return place_of(connection.server)


def place_of(endpoint: Endpoint | None) -> str:
    """An address as the authority of a URL."""
    if endpoint is None:
        return "unknown"
    return _authority((f"[{endpoint.ip}]" if ":" in endpoint.ip else endpoint.ip).encode()) + (
        f":{endpoint.port}" if endpoint.port else ""
    )


def query_pairs(target: bytes) -> list[tuple[str, str]]:
    """Every pair of the query in order, decoded as forms are (plus signs are blanks)."""
    query = target.partition(b"?")[2].partition(b"#")[0]
    pairs = [pair.replace(b"+", b" ").partition(b"=") for pair in query.split(b"&") if pair]
    return [(percent_decoded(name), percent_decoded(value)) for name, _, value in pairs]


def percent_decoded(raw: bytes) -> str:
    """Text without its escapes; what is no escape stays as it is."""
    return text_of(unquote_to_bytes(raw))


def _names_a_host(authority: bytes) -> bool:
    return not _PORT_ALONE.fullmatch(authority)


def _authority(raw: bytes) -> str:
    """Host and port; a colon that no port follows is part of the host, hence escaped."""
    found = _HOST_PORT.fullmatch(raw)
    host, port = (found[1], found[2]) if found else (raw, b"")
    if int(port[1:] or b"0") > _MOST_PORT:
        host, port = raw, b""
    return (_maybe_ipv6(host) or _escaped(host, _NOT_IN_HOST)) + port.decode()


def _maybe_ipv6(host: bytes) -> str | None:
    """``[address]`` without its zone, which means something on that host alone (RFC 6874)."""
    if not (host.startswith(b"[") and host.endswith(b"]")):
        return None
    address = host[1:-1].partition(b"%")[0].decode("latin-1")
    try:
        IPv6Address(address)
    except AddressValueError:
        return None
    return f"[{address}]"


def _escaped(raw: bytes, illegal: re.Pattern[bytes]) -> str:
    return illegal.sub(lambda found: b"%%%02X" % ord(found[0]), raw).decode("ascii")
