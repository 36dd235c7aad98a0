"""Targets of requests as URLs, and the pairs in them; what is no URI becomes one by escaping.

docs/exporting.md: as it was, the target stands beside.
"""

import re
from urllib.parse import unquote_to_bytes

from qtapture.events import Connection, Endpoint, Message
from qtapture.export.attribution import text_of

__all__ = ["full_url", "host_of", "query_pairs"]

# RFC 3986: unreserved, sub-delims, and what paths and queries may hold beside.
_LEGAL = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/?"
)
_HEX = frozenset(b"0123456789ABCDEFabcdef")
_PER_CENT = 0x25
_LEGAL_HOST = _LEGAL - frozenset(b"@/?")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]{0,31})://([^/?#]*)(.*)", re.DOTALL)
_ZONE = re.compile(rb"%[^\]]*(?=\])")  # RFC 6874: it means something on that host alone
_IPV6 = re.compile(rb"\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def full_url(request: Message, connection: Connection) -> str:
    """The URL that a request asked for."""
    target = request.target
    authority = host_of(request, connection)
    if request.method == "CONNECT":
        return f"connect://{_authority(target) or authority}"
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute and not target.startswith(b"/"):
        scheme, place, rest = absolute.groups()
        return f"{scheme.decode().lower()}://{_authority(place)}{_escaped(rest) or '/'}"
    scheme_name = "https" if connection.encrypted else "http"
    path = target if target.startswith(b"/") else b"/" + target
    return f"{scheme_name}://{authority}{_escaped(path)}"


def host_of(request: Message, connection: Connection) -> str:
    """The authority: what the client said, else where it was connected to."""
    said = request.header("host")
    if said:
        return _authority(said)
    return _place(connection.server)


def query_pairs(target: bytes) -> list[tuple[str, str]]:
    """Every pair of the query in order, percent-decoded."""
    query = target.partition(b"?")[2].partition(b"#")[0]
    pairs = [pair.partition(b"=") for pair in query.split(b"&") if pair]
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def _authority(raw: bytes) -> str:
    plain = _ZONE.sub(b"", raw)
    if _IPV6.fullmatch(plain):
        return plain.decode("ascii")
    return _escaped(plain, _LEGAL_HOST)


def _escaped(raw: bytes, legal: frozenset[int] = _LEGAL) -> str:
    parts = []
    for at, byte in enumerate(raw):
        # An escape stays one; a lone per cent sign is a character like others.
        is_escape = byte == _PER_CENT and len(raw) > at + 2 and {raw[at + 1], raw[at + 2]} <= _HEX
        parts.append(chr(byte) if byte in legal or is_escape else f"%{byte:02X}")
    return "".join(parts)


def _decoded(raw: bytes) -> str:
    return text_of(unquote_to_bytes(raw.replace(b"+", b" ")))


def _place(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return "unknown"
    host = f"[{endpoint.ip}]" if ":" in endpoint.ip else endpoint.ip
    return f"{host}:{endpoint.port}"
