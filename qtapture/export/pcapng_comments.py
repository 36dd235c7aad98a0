"""What a pcapng says in words: section, interface and packet comments, one line each."""

from collections.abc import Iterable, Iterator

from qtapture import __version__
from qtapture.events import Connection, Direction, Gap, Process, Reason, Tables, TlsFacts
from qtapture.export.ports import Shown

__all__ = [
    "connection_comment",
    "continuation_comment",
    "gap_comment",
    "interface_name",
    "interface_text",
    "section_comments",
    "system_text",
    "way",
]

# More than a person reads in a packet comment; `qtapture info` lists all.
_MOST_REASONS = 16
_MOST_REMARKS = 8
_NOBODY = "process unknown"
_WAYS = {Direction.C2S: "client to server", Direction.S2C: "server to client"}


def way(direction: Direction) -> str:
    """A direction in words."""
    return _WAYS[direction]


def system_text(tables: Tables) -> str:
    """The kernel that was recorded on."""
    kernel = tables.facts.get("kernel", "")
    return f"Linux {kernel}" if kernel else ""


def section_comments(tables: Tables) -> Iterator[str]:
    """What the file is, and which session it was made from."""
    yield (
        f"Made by qtapture {__version__} from a recorded session; an export, not the evidence."
        " Payload is as observed; Ethernet, IP and TCP headers, handshakes, acknowledgements and"
        " FINs are synthesised. Plaintext of TLS is shown on another server port, named in the"
        " comment of each connection's first packet."
    )
    facts = tables.facts
    names = ("uuid", "sha256", "chain_head", "host", "boot_id", "argv", "closed", "damaged")
    known = [f"{name}={facts[name]}" for name in names if facts.get(name)]
    if known:
        yield "session: " + " ".join(known)


def interface_name(process: Process | None) -> str:
    """``curl[4242]``."""
    return process.label if process else "unknown"


def interface_text(process: Process | None, remarks: Iterable[str]) -> str:
    """Who the process is, and how its ports are shown."""
    return "; ".join(filter(None, [*_process_parts(process), *_some(remarks, _MOST_REMARKS)]))


def _process_parts(process: Process | None) -> list[str]:
    if process is None:
        return [_NOBODY]
    argv = " ".join(process.argv) + (" ..." if process.argv_truncated else "")
    user = process.user or (f"uid {process.uid}" if process.uid is not None else "")
    return [
        process.executable or process.comm,
        f"argv: {argv}" if argv else "",
        f"user: {user}" if user else "",
        f"container: {process.container}" if process.container else "",
    ]


def _some(parts: Iterable[str], most: int) -> list[str]:
    listed = list(parts)
    hidden = len(listed) - most
    return [*listed[:most], f"and {hidden} more"] if hidden > 0 else listed


def _who(process: Process | None) -> str:
    if process is None:
        return _NOBODY
    user = process.user or (str(process.uid) if process.uid is not None else "unknown")
    return f"{process.label} user {user}"


def connection_comment(connection: Connection, shown: Shown, marks: str) -> str:
    """All that stands on a connection's first packet; ``marks`` is what was synthesised."""
    peer = connection.server_process if connection.side == "client" else connection.client_process
    parts = [
        f"connection {connection.number}: {_who(connection.owner)}",
        f"peer {_who(peer)}" if peer else "",
        connection.network,
        f"seen from the {connection.side.value}",
        _tls_text(connection.tls) if connection.encrypted or connection.tls else "",
        shown.remark,
        f"verdict {connection.verdict.value}",
        *_some(map(_reason_text, connection.reasons), _MOST_REASONS),
        f"error {connection.error}" if connection.error else "",
        marks,
    ]
    return "; ".join(filter(None, parts))


def _tls_text(tls: TlsFacts | None) -> str:
    if tls is None:
        return "TLS"
    library = (tls.library.version or tls.library.path) if tls.library else ""
    parts = [tls.version or "TLS", tls.server_name or "", tls.alpn or "", library]
    return " ".join(filter(None, parts))


def _reason_text(reason: Reason) -> str:
    parts = [reason.code.value]
    if reason.direction is not None:
        parts.append(way(reason.direction))
    if reason.start is not None:
        end = "unknown" if reason.end is None else str(reason.end)
        parts.append(f"offsets {reason.start} to {end}")
    if reason.detail:
        parts.append(f"({reason.detail})")
    return " ".join(parts)


def gap_comment(gap: Gap) -> str:
    """What is missing before a packet."""
    size = "unknown length" if gap.length is None else f"{gap.length} bytes"
    where = f"{way(gap.direction)} from offset {gap.offset}"
    return f"gap of {size} {where}: {gap.reason.value}; not filled"


def continuation_comment(connection: Connection, first: Shown, direction: Direction) -> str:
    """Where a direction goes on after a gap of unknown length."""
    return (
        f"connection {connection.number} goes on here, {way(direction)}, after a gap of unknown"
        f" length; it begins with client port {first.client.port} and server port"
        f" {first.server.port}; this TCP connection is synthesised and has no handshake"
    )
