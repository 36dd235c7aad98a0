"""The vocabulary of replay: what was observed, in the field's own words.

Rule 1: an event states what was observed, never what it means.
Rule 2: whatever is missing is a value too; absence is visible everywhere.
Rule 3: everything here is immutable, except that bodies give their storage back (`Body.close`).

Times are CLOCK_BOOTTIME nanoseconds (``time_ns``); `qtapture.timebase.Clock` turns them into
wall time. Offsets are positions in one direction of one connection, in bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol

__all__ = [
    "Anomaly",
    "Body",
    "Closed",
    "Connection",
    "Direction",
    "Endpoint",
    "EndpointView",
    "Exchange",
    "Gap",
    "Header",
    "Library",
    "Loss",
    "Message",
    "Opened",
    "Process",
    "ProcessExited",
    "ProcessStarted",
    "Reason",
    "ReasonCode",
    "Segment",
    "Side",
    "Tables",
    "TlsFacts",
    "Traffic",
    "Verdict",
]


class Direction(IntEnum):
    """Which way bytes travel. The client is the end that connected."""

    C2S = 0
    S2C = 1


class Side(StrEnum):
    """One of the two ends of a connection."""

    CLIENT = "client"
    SERVER = "server"


class Verdict(StrEnum):
    """How much of a direction, or of a connection (its worse direction), is known."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    OPAQUE = "opaque"


class ReasonCode(StrEnum):
    """Why something is missing: the documented list (docs/evidence.md)."""

    OLDER_THAN_RECORDING = "older_than_recording"
    STILL_OPEN = "still_open"  # informational: the recording ended first
    LOST_SAMPLES = "lost_samples"  # the ring was full
    NO_BUFFER = "no_buffer"  # sendfile, splice, io_uring: length known, bytes not
    UNREADABLE_BUFFER = "unreadable_buffer"  # the page could not be read
    CALL_TOO_LARGE = "call_too_large"  # beyond what one call may copy
    FOUND_LATE = "found_late"  # the library was hooked after the connection began
    NO_PROBE = "no_probe"  # encrypted by a library that has no probe
    UNJOINED = "unjoined"  # plaintext whose socket is not known
    DAMAGED_SESSION = "damaged_session"  # chunks of the file are missing or unreadable
    ATTEMPT_FAILED = "attempt_failed"  # the connect was refused or timed out
    NO_PAYLOAD_SEEN = "no_payload_seen"  # the kernel counted bytes that no probe saw


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One stretch that is missing, or one fact that explains a verdict."""

    code: ReasonCode
    direction: Direction | None = None
    start: int | None = None  # offset of the first missing byte
    end: int | None = None  # one past the last; None where the length is unknown
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process: pid and start time identify it, never the pid alone."""

    pid: int
    start_ticks: int  # boot time in 10 ms ticks, as /proc/PID/stat and the probes have it
    entity_id: str  # sha1 of boot id, pid, ticks
    ppid: int = 0
    parent_entity_id: str | None = None
    ns_pid: int = 0
    uid: int | None = None
    gid: int | None = None
    user: str | None = None
    comm: str = ""
    executable: str = ""  # path
    argv: tuple[str, ...] = ()
    argv_truncated: bool = False
    cgroup_id: int = 0
    cgroup: str | None = None
    container: str | None = None
    start_ns: int | None = None
    exec_ns: int | None = None
    exit_ns: int | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    origin: str = "inferred"  # exec, fork, snapshot (before the recording), inferred

    @property
    def label(self) -> str:
        """``comm[pid]``, as every export names a process."""
        return f"{self.comm or '?'}[{self.pid}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address and port; ``port`` is 0 where unknown."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A TLS library that was found mapped, and whether it could be hooked."""

    number: int
    path: str
    build_id: str = ""
    version: str = ""  # "OpenSSL 3.0.22", as the file says
    hooked: bool = True
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What is known about the TLS layer of one endpoint."""

    library: Library | None = None
    joined_by: str = ""  # nested, record; empty where unjoined
    version: str | None = None
    cipher: str | None = None
    alpn: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """One local end of a connection, with what is known from there."""

    side: Side
    process: Process | None
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    tls: TlsFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection, shown once however many of its ends are on this host.

    ``number`` counts from 1 in order of first sight and is the connection's name in every
    export. ``client`` is always the end that connected. Byte counts are the kernel's own,
    None where it was not seen to close.
    """

    number: int
    client: Endpoint | None  # None: not known (plaintext that never joined)
    server: Endpoint | None
    side: Side  # the end that it is shown from
    owner: Process | None  # made the first payload call on that side
    processes: tuple[Process, ...] = ()  # all that spoke on that side
    client_process: Process | None = None
    server_process: Process | None = None
    netns: int = 0
    inode: int = 0
    cookie: int = 0
    transport: str = "tcp"
    encrypted: bool = False  # the socket carries TLS records
    tls: TlsFacts | None = None
    first_ns: int = 0  # first thing seen of it
    last_ns: int = 0
    connect_ns: int | None = None  # SYN sent
    established_ns: int | None = None
    closed_ns: int | None = None
    error: str | None = None  # errno name of a failed connect
    older: bool = False  # was open before the recording
    bytes_c2s: int | None = None
    bytes_s2c: int | None = None
    verdict: Verdict = Verdict.COMPLETE
    verdict_c2s: Verdict = Verdict.COMPLETE
    verdict_s2c: Verdict = Verdict.COMPLETE
    reasons: tuple[Reason, ...] = ()
    endpoints: tuple[EndpointView, ...] = ()

    @property
    def network(self) -> str:
        """``client -> server`` for people."""
        names = [_place(self.client), _place(self.server)]
        return " -> ".join(names)


def _place(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return "?"
    host = f"[{endpoint.ip}]" if ":" in endpoint.ip else endpoint.ip
    return f"{host}:{endpoint.port}"


# ------------------------------------------------------------------ the traffic itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Consecutive bytes of one direction, as one piece of one call gave them."""

    connection: Connection
    direction: Direction
    offset: int
    data: bytes
    time_ns: int
    process: Process | None
    tid: int = 0
    record: int = 0  # number of the sample in the session: the way back to the evidence
    plaintext: bool = False  # came from a TLS call, not from the socket


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Bytes of one direction that are not there. ``length`` None: unknown."""

    connection: Connection
    direction: Direction
    offset: int
    length: int | None
    reason: ReasonCode
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A connection was established, attempted, or first seen."""

    connection: Connection
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """Nothing more of this connection follows."""

    connection: Connection
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStarted:
    """A process appeared by exec or fork during the recording."""

    process: Process
    time_ns: int
    action: str  # exec, fork


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessExited:
    """A process ended during the recording."""

    process: Process
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Samples that the kernel side counted as lost, by kind, in an interval of time."""

    kind: str  # control, tls, socket, socket_heads, secrets, packets
    samples: int
    bytes: int
    start_ns: int
    time_ns: int  # end of the interval
    skipped: int = 0
    detail: str = ""


Traffic = Segment | Gap | Opened | Closed | ProcessStarted | ProcessExited | Loss


# ------------------------------------------------------------------ messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One header line. ``name`` and ``value`` as sent, without the surrounding blanks."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """Something that was not as the protocol says; codes are listed in docs/evidence.md."""

    code: str
    message: str  # request or response
    offset: int
    detail: str = ""


class Body(Protocol):
    """The content of one message, encoded as it travelled and decoded.

    Both are kept on disk past a limit; ``close`` gives the storage back.
    """

    @property
    def encoded_size(self) -> int:
        """Bytes on the wire without transfer coding."""

    @property
    def decoded_size(self) -> int:
        """Bytes after all content codings were taken off."""

    @property
    def codings(self) -> tuple[str, ...]:
        """Content codings taken off, outermost (last applied) first."""

    @property
    def undecodable(self) -> str | None:
        """Why the body is shown encoded, None where it was decoded."""

    @property
    def decode_limited(self) -> bool:
        """True where decoding stopped at a cap; what was decoded so far is kept."""

    def iter_encoded(self) -> Iterator[bytes]:
        """Pieces of the encoded bytes, in order."""

    def iter_decoded(self) -> Iterator[bytes]:
        """Pieces of the decoded bytes, in order."""

    def close(self) -> None:
        """Give the storage back; the body cannot be read any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One HTTP message, as it was. Request fields are empty in a response and vice versa."""

    offset: int  # of its first byte in the direction
    end: int  # one past its last byte
    first_ns: int
    last_ns: int
    start_line: bytes
    version: str  # "HTTP/1.1"; "" where unreadable
    method: str = ""
    target: bytes = b""
    status: int = 0
    reason: str = ""
    headers: tuple[Header, ...] = ()
    raw_headers: bytes | None = None  # where any header was not in canonical form
    trailers: tuple[Header, ...] = ()
    headers_size: int = 0  # start line to blank line, in bytes
    wire_size: int = 0  # everything, framing included
    body: Body
    complete: bool = True
    incomplete_reason: str = ""  # cut, gap, reset, close_delimited_unclosed, joined_late
    informational: tuple["Message", ...] = ()  # 1xx before a response
    anomalies: tuple[Anomaly, ...] = ()
    first_record: int = 0
    last_record: int = 0

    def header(self, name: str) -> bytes | None:
        """The value of the first header called ``name`` (any case), or None."""
        wanted = name.lower().encode()
        return next((h.value for h in self.headers if h.name.lower() == wanted), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what answered it; either may be missing."""

    number: int  # from 1, in order of completion over the whole session
    connection: Connection
    index: int  # from 1 on its connection
    process: Process | None  # made the call on the shown side
    request: Message | None
    response: Message | None
    first_on_connection: bool = False
    error: str = ""  # why there is no response

    @property
    def time_ns(self) -> int:
        """When it began."""
        message = self.request or self.response
        return message.first_ns if message else 0

    def close(self) -> None:
        """Give the storage of both bodies back."""
        for message in (self.request, self.response):
            if message is not None:
                message.body.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What the survey pass knows before the first byte is streamed.

    ``connections`` and ``processes`` are in order of first sight. ``facts`` are the session's
    own: uuid, host, kernel, boot_id, tool, argv, sha256 (of the session file), chain_head,
    closed, damaged (all strings).
    """

    connections: tuple[Connection, ...]
    processes: tuple[Process, ...]
    libraries: tuple[Library, ...] = ()
    losses: tuple[Loss, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    start_ns: int = 0
    end_ns: int = 0
