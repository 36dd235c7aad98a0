"""Readable builders of what replay hands to exporters.

A talk on one connection, told in order:

    talk = Talk(connection(number=1, server="93.184.216.34:443"))
    talk.open()
    talk.client(b"GET / HTTP/1.1\\r\\nHost: example.com\\r\\n\\r\\n")
    talk.server(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    talk.close()
    feed(export, tables(talk.connection), talk.items)
"""

import gzip
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from qtapture.events import (
    Closed,
    Connection,
    Direction,
    Endpoint,
    Exchange,
    Gap,
    Header,
    Loss,
    Message,
    Opened,
    Process,
    ProcessExited,
    ProcessStarted,
    Reason,
    ReasonCode,
    Segment,
    Side,
    Tables,
    TlsFacts,
    Traffic,
    Verdict,
)
from qtapture.export import Export
from qtapture.timebase import Anchor, Clock

MS = 1_000_000
SECOND = 1_000_000_000
START_NS = 1_000 * SECOND  # boot time at which every built session begins
EPOCH_NS = 1_764_000_000 * SECOND  # the same moment on the wall: 2025-11-24T16:00:00Z
PIECE = 16384  # what one sample carries at most


def clock() -> Clock:
    """Boot time START_NS is EPOCH_NS on the wall."""
    return Clock([Anchor(boottime_ns=START_NS, monotonic_ns=START_NS, realtime_ns=EPOCH_NS)])


def endpoint(text: str | None) -> Endpoint | None:
    """``10.0.0.1:80``, ``[::1]:80`` or None."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    return Endpoint(ip=host.strip("[]"), port=int(port))


def process(pid: int = 4242, comm: str = "curl", **over) -> Process:
    """curl[4242] of user alice, started one second before the session."""
    facts = {
        "start_ticks": 99_900 + pid,
        "entity_id": f"{pid:040x}",
        "ppid": 1,
        "uid": 1000,
        "gid": 1000,
        "user": "alice",
        "executable": f"/usr/bin/{comm}",
        "argv": (comm, "https://example.com/"),
        "start_ns": START_NS - SECOND,
        "origin": "exec",
    }
    return Process(pid=pid, comm=comm, **(facts | over))


CURL = process()
NGINX = process(80, "nginx", user="www-data", uid=33, argv=("nginx", "-g", "daemon off;"))


def connection(
    number: int = 1,
    *,
    client: str | None = "10.0.0.5:40000",
    server: str | None = "93.184.216.34:443",
    owner: Process | None = CURL,
    side: Side = Side.CLIENT,
    **over,
) -> Connection:
    """A complete connection of curl to example.com's port 443."""
    facts = {
        "first_ns": START_NS,
        "last_ns": START_NS + SECOND,
        "connect_ns": START_NS,
        "established_ns": START_NS + MS,
        "closed_ns": START_NS + SECOND,
        "processes": (owner,) if owner else (),
        "client_process": owner if side is Side.CLIENT else None,
        "server_process": owner if side is Side.SERVER else None,
    }
    return Connection(
        number=number,
        client=endpoint(client),
        server=endpoint(server),
        side=side,
        owner=owner,
        **(facts | over),
    )


def tls_connection(number: int = 1, **over) -> Connection:
    """The same, encrypted, joined by nested calls."""
    facts = {
        "encrypted": True,
        "tls": TlsFacts(
            joined_by="nested",
            version="TLSv1.3",
            cipher="TLS_AES_256_GCM_SHA384",
            alpn="http/1.1",
            server_name="example.com",
        ),
    }
    return connection(number, **(facts | over))


def partial(original: Connection, *reasons: Reason) -> Connection:
    """The connection with a verdict of partial for these reasons."""
    return replace(original, verdict=Verdict.PARTIAL, reasons=reasons)


@dataclass
class Talk:
    """Traffic of one connection, in order; every item comes one millisecond after the last."""

    connection: Connection
    plaintext: bool = True
    start_ns: int = START_NS
    step_ns: int = MS
    first_record: int = 1
    items: list[Traffic] = field(default_factory=list)

    def __post_init__(self):
        self.now_ns = self.start_ns
        self.record = self.first_record
        self.offsets = {Direction.C2S: 0, Direction.S2C: 0}

    def _tick(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns

    def open(self) -> "Talk":
        self.items.append(Opened(connection=self.connection, time_ns=self._tick()))
        return self

    def close(self) -> "Talk":
        self.items.append(Closed(connection=self.connection, time_ns=self._tick()))
        return self

    def say(self, direction: Direction, data: bytes, *, by: Process | None = None) -> "Talk":
        """One call, cut into pieces as the kernel side cuts it."""
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self.items.append(
                Segment(
                    connection=self.connection,
                    direction=direction,
                    offset=self.offsets[direction],
                    data=piece,
                    time_ns=self._tick(),
                    process=by or self.connection.owner,
                    tid=by.pid if by else self.connection.owner.pid if self.connection.owner else 0,
                    record=self.record,
                    plaintext=self.plaintext,
                )
            )
            self.record += 1
            self.offsets[direction] += len(piece)
        return self

    def client(self, data: bytes, **more) -> "Talk":
        return self.say(Direction.C2S, data, **more)

    def server(self, data: bytes, **more) -> "Talk":
        return self.say(Direction.S2C, data, **more)

    def gap(
        self,
        direction: Direction,
        length: int | None,
        reason: ReasonCode = ReasonCode.LOST_SAMPLES,
    ) -> "Talk":
        self.items.append(
            Gap(
                connection=self.connection,
                direction=direction,
                offset=self.offsets[direction],
                length=length,
                reason=reason,
                time_ns=self._tick(),
            )
        )
        self.offsets[direction] += length or 0
        return self

    def lost(self, samples: int, size: int = 0, *, kind: str = "tls") -> "Talk":
        start_ns = self.now_ns
        end_ns = self._tick()
        self.items.append(
            Loss(kind=kind, samples=samples, bytes=size, start_ns=start_ns, time_ns=end_ns)
        )
        return self


def started(who: Process, time_ns: int = START_NS, action: str = "exec") -> ProcessStarted:
    return ProcessStarted(process=who, time_ns=time_ns, action=action)


def exited(who: Process, time_ns: int = START_NS + SECOND) -> ProcessExited:
    return ProcessExited(process=who, time_ns=time_ns)


def merge(*talks: Talk | Iterable[Traffic]) -> list[Traffic]:
    """Several talks in one order of time, as replay gives them."""
    lists = [talk.items if isinstance(talk, Talk) else list(talk) for talk in talks]
    return list(heapq.merge(*lists, key=lambda item: item.time_ns))


FACTS = {
    "uuid": "3f1c7c60-6b1f-4f0e-9a57-3a1f64e3a2b1",
    "host": "web-1",
    "kernel": "6.1.0-28-amd64",
    "machine": "x86_64",
    "boot_id": "7d0a0b9e-5d0e-4f3c-8f63-0d9f7ad6b111",
    "tool": "qtapture 0.1.0",
    "argv": "qtapture record -- curl https://example.com/",
    "sha256": "ab" * 32,
    "chain_head": "cd" * 32,
    "closed": "yes",
    "damaged": "no",
}


def tables(*connections: Connection, losses: Sequence[Loss] = (), **over) -> Tables:
    """The survey of a session with these connections; processes in order of first sight."""
    processes: dict[str, Process] = {}
    for each in connections:
        for who in (*each.processes, each.client_process, each.server_process):
            if who is not None:
                processes.setdefault(who.entity_id, who)
    facts = {
        "connections": tuple(connections),
        "processes": tuple(processes.values()),
        "losses": tuple(losses),
        "facts": dict(FACTS),
        "start_ns": START_NS,
        "end_ns": START_NS + 10 * SECOND,
    }
    return Tables(**(facts | over))


@dataclass
class MemoryBody:
    """A body that was small enough to stay in memory."""

    encoded: bytes = b""
    decoded: bytes | None = None  # None: not encoded at all
    codings: tuple[str, ...] = ()
    undecodable: str | None = None
    decode_limited: bool = False
    closed: bool = False

    @property
    def _shown(self) -> bytes:
        return self.encoded if self.decoded is None else self.decoded

    @property
    def encoded_size(self) -> int:
        return len(self.encoded)

    @property
    def decoded_size(self) -> int:
        return len(self._shown)

    def iter_encoded(self) -> Iterator[bytes]:
        yield from self._pieces(self.encoded)

    def iter_decoded(self) -> Iterator[bytes]:
        yield from self._pieces(self._shown)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        assert not self.closed, "a closed body was read"
        for start in range(0, len(data), 65536):
            yield data[start : start + 65536]

    def close(self) -> None:
        self.closed = True


def gzip_body(decoded: bytes) -> MemoryBody:
    encoded = gzip.compress(decoded, mtime=0)
    return MemoryBody(encoded=encoded, decoded=decoded, codings=("gzip",))


def headers(*pairs: tuple[str, str]) -> tuple[Header, ...]:
    return tuple(Header(name=n.encode("latin-1"), value=v.encode("latin-1")) for n, v in pairs)


def _head(start_line: bytes, lines: tuple[Header, ...]) -> bytes:
    return b"\r\n".join([start_line, *(h.name + b": " + h.value for h in lines), b"", b""])


def _sized(pairs: Sequence[tuple[str, str]], body: MemoryBody) -> tuple[Header, ...]:
    more = [("Content-Encoding", body.codings[0])] if body.codings else []
    return headers(*pairs, *more, ("Content-Length", str(body.encoded_size)))


def _message(
    start_line: bytes, lines: tuple[Header, ...], body: MemoryBody, first_ns: int, facts: dict
) -> Message:
    head = _head(start_line, lines)
    size = len(head) + body.encoded_size
    offset = facts.pop("offset", 0)
    given = {
        "offset": offset,
        "end": offset + size,
        "first_ns": first_ns,
        "last_ns": first_ns + MS,
        "start_line": start_line,
        "version": "HTTP/1.1",
        "headers": lines,
        "headers_size": len(head),
        "wire_size": size,
        "body": body,
        "first_record": 1,
        "last_record": 2,
    }
    return Message(**(given | facts))


def request(
    method: str = "GET",
    target: str = "/",
    *pairs: tuple[str, str],
    body: MemoryBody | bytes | None = None,
    first_ns: int = START_NS + 10 * MS,
    **over,
) -> Message:
    """``GET / HTTP/1.1`` to example.com unless told otherwise."""
    content = MemoryBody(body) if isinstance(body, bytes) else body or MemoryBody()
    pairs = pairs or (("Host", "example.com"), ("User-Agent", "curl/7.88.1"))
    lines = _sized(pairs, content) if content.encoded_size else headers(*pairs)
    start_line = f"{method} {target} HTTP/1.1".encode("latin-1")
    facts = {"method": method, "target": target.encode("latin-1")} | over
    return _message(start_line, lines, content, first_ns, facts)


def response(
    status: int = 200,
    *pairs: tuple[str, str],
    body: MemoryBody | bytes = b"",
    reason: str = "OK",
    first_ns: int = START_NS + 30 * MS,
    **over,
) -> Message:
    """``HTTP/1.1 200 OK`` with a body of text/plain unless told otherwise."""
    content = MemoryBody(body) if isinstance(body, bytes) else body
    lines = _sized(pairs or (("Content-Type", "text/plain"),), content)
    start_line = f"HTTP/1.1 {status} {reason}".encode("latin-1")
    facts = {"status": status, "reason": reason} | over
    return _message(start_line, lines, content, first_ns, facts)


def exchange(
    number: int = 1,
    on: Connection | None = None,
    *,
    request: Message | None = None,
    response: Message | None = None,
    index: int | None = None,
    **over,
) -> Exchange:
    """A request and its answer; the first on its connection unless ``index`` says otherwise."""
    where = on or connection()
    place = number if index is None else index
    facts = {"process": where.owner, "first_on_connection": place == 1}
    return Exchange(
        number=number,
        connection=where,
        index=place,
        request=request,
        response=response,
        **(facts | over),
    )


def raw(message: Message) -> bytes:
    """The message as it travelled."""
    return _head(message.start_line, message.headers) + b"".join(message.body.iter_encoded())


def feed(
    export: Export,
    survey: Tables,
    items: Iterable[Traffic] = (),
    exchanges: Iterable[Exchange] = (),
) -> None:
    """Drive an export from begin to finish; exchanges come after the traffic."""
    export.begin(survey)
    for item in items:
        export.traffic(item)
    for each in exchanges:
        export.exchange(each)
        each.close()
    export.finish()
