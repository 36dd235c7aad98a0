"""Groups of keys that rows of a timeline share (formats/timeline.md), each in a fixed order.

A key whose value is None is left out by whoever makes the row.
"""

from typing import Any

from qtapture.events import Connection, Library, Message, Process
from qtapture.export.attribution import text_of

__all__ = ["connection_keys", "domain_of", "http_keys", "process_keys"]

Row = dict[str, Any]


def process_keys(process: Process | None, prefix: str = "process") -> Row:
    """Who; all that is known of the one that a row is about, the essentials of others."""
    if process is None:
        return {}
    row: Row = {
        f"{prefix}.pid": process.pid,
        f"{prefix}.entity_id": process.entity_id,
        f"{prefix}.name": process.comm,
        f"{prefix}.executable": process.executable or None,
    }
    if prefix == "process":
        row |= {
            "process.command_line": " ".join(process.argv) or None,
            "process.parent.pid": process.ppid or None,
            "process.parent.entity_id": process.parent_entity_id,
            "user.id": None if process.uid is None else str(process.uid),
            "user.name": process.user,
            "container.id": process.container,
        }
    return row


def connection_keys(connection: Connection) -> Row:
    """Where, over which TLS, and how much of it is known."""
    client, server = connection.client, connection.server
    tls = connection.tls
    return {
        "source.ip": client.ip if client else None,
        "source.port": client.port if client else None,
        "destination.ip": server.ip if server else None,
        "destination.port": server.port if server else None,
        "network.transport": connection.transport,
        "network.direction": _direction(connection),
        **process_keys(connection.client_process, "client.process"),
        **process_keys(connection.server_process, "server.process"),
        "tls.version": tls.version if tls else None,
        "tls.cipher": tls.cipher if tls else None,
        "tls.next_protocol": tls.alpn if tls else None,
        "tls.client.server_name": tls.server_name if tls else None,
        "qt.conn": connection.number,
        "qt.verdict": connection.verdict.value,
        "qt.reasons": sorted({reason.code.value for reason in connection.reasons}) or None,
        "qt.attribution": tls.joined_by or None if tls else None,
        "qt.library": _library(tls.library) if tls else None,
    }


def http_keys(request: Message | None, response: Message | None, url: str | None) -> Row:
    """What was asked and answered. Bodies are counted as they travelled, never shown."""
    known = request or response
    mime = text_of((response.header("content-type") if response else None) or b"")
    return {
        "http.request.method": request.method if request else None,
        "url.full": url,
        "url.domain": domain_of(url),
        "http.version": (known.version.removeprefix("HTTP/") or None) if known else None,
        "http.response.status_code": response.status if response else None,
        "http.request.body.bytes": request.body.encoded_size if request else None,
        "http.response.body.bytes": response.body.encoded_size if response else None,
        "http.response.mime_type": mime or None,
        "network.protocol": "http",
    }


def domain_of(url: str | None) -> str | None:
    """The host of a URL, without user, port and brackets (RFC 3986 3.2)."""
    if url is None:
        return None
    rest = url.partition("://")[2]
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    place = rest[:end].rpartition("@")[2]
    host, colon, port = place.rpartition(":")
    is_port = colon and not port.strip("0123456789")
    return (host if is_port else place).strip("[]") or None


def _direction(connection: Connection) -> str:
    if connection.client_process is not None and connection.server_process is not None:
        return "internal"
    return "egress" if connection.side.value == "client" else "ingress"


def _library(library: Library | None) -> str | None:
    return f"{library.path} {library.version}".strip() if library else None
