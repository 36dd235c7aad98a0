"""An imaginary host whose processes speak, and the samples that probes would write of it.

    host = Host()
    curl = host.run("curl", "https://example.com/")
    socket = curl.connect("10.0.0.2:40000", "93.184.216.34:443")
    ssl = curl.ssl()
    ssl.join(socket)
    ssl.write(b"GET / HTTP/1.1\\r\\n\\r\\n")
    with host.losing():
        ssl.read(b"the kernel's ring was full")
    ssl.free()
    socket.close()
    source = host.source()

Everything is told in order of time; each thing takes a millisecond. `Host.source` writes it as
a recorder would: by CPU, in slices, with a ROUND now and then.
"""

import ipaddress
import json
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from qtapture.reassembly.layout import LAYOUTS
from qtapture.source import EventRecord, EventType, Hole, Record, Slice

MS = 1_000_000
SECOND = 1_000_000_000
START_NS = 1_000 * SECOND
EPOCH_NS = 1_764_000_000 * SECOND
PIECE = 16_384
CONTROL, PAYLOAD = 0, 1
LIBRARY = 1
NETNS = 4_026_531_840
BOOT_ID = "11111111-2222-4333-8444-555555555555"

NO_TASK, OLDER = 1, 2
ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT2, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN = (
    1,
    2,
    3,
    5,
    7,
    8,
    9,
    10,
)
KIND_CONTROL, KIND_TLS, KIND_SOCKET, KIND_HEADS = 0, 1, 2, 3
MISSING_HEAD, MISSING_NO_BUFFER, MISSING_FAULT, MISSING_LIMIT = 1, 2, 3, 4
NESTED, RECORD = 1, 2


def pack(struct_name: str, payload: bytes = b"", **values) -> bytes:
    """A struct of bpf/qtapture.h; fields by their flat names with ``__`` for the dot."""
    layout = LAYOUTS[struct_name]
    flat = {name.replace("__", "."): value for name, value in values.items()}
    unknown = flat.keys() - {name for name, _ in layout.fields}
    assert not unknown, unknown
    row = [flat.get(name, b"" if code.endswith("s") else 0) for name, code in layout.fields]
    return layout.reader.pack(*row) + payload


def perf_sample(raw: bytes) -> bytes:
    """PERF_RECORD_SAMPLE with PERF_SAMPLE_RAW, padded to 8 as the kernel does."""
    body = struct.pack("<I", len(raw)) + raw
    body += bytes(-(len(body) + 8) % 8)
    size = 8 + len(body)
    assert size < 1 << 16
    return struct.pack("<IHH", 9, 0, size) + body


def perf_lost(lost: int) -> bytes:
    """PERF_RECORD_LOST."""
    return struct.pack("<IHHQQ", 2, 0, 24, 7, lost)


def round_event(time_ns: int, number: int = 0) -> EventRecord:
    return EventRecord(EventType.ROUND, 1, time_ns, struct.pack("<QQ", time_ns, number))


def json_event(kind: EventType, time_ns: int, **body) -> EventRecord:
    return EventRecord(kind, 1, time_ns, json.dumps(body).encode())


def place(text: str) -> tuple[int, bytes, int]:
    """Family, address as the kernel stores it, and port of ``10.0.0.1:80`` or ``[::1]:80``."""
    host, _, port = text.rpartition(":")
    address = ipaddress.ip_address(host.strip("[]"))
    return (2 if address.version == 4 else 10), address.packed.ljust(16, b"\0"), int(port)


@dataclass
class ListSource:
    """Records in a list."""

    records: list[Record]
    header: dict = field(default_factory=dict)

    def iter_records(self) -> Iterator[Record]:
        return iter(self.records)


@dataclass
class Emitted:
    """One sample on its way to a ring."""

    time_ns: int
    cpu: int
    ring: int
    raw: bytes


class Host:
    """Keeps the clock and collects what probes and recorder write."""

    def __init__(self) -> None:
        self.time_ns = START_NS
        self.records: list[Emitted | EventRecord | Hole] = []
        self.lost: dict[int, list[int]] = {}
        self.submitted: dict[int, list[int]] = {}
        self._losing = False
        self._addresses = 0xFFFF_8880_0000_0000
        self._pids = 4000
        self.header = {
            "uuid": "00000000-0000-4000-8000-000000000001",
            "host": "imaginary",
            "kernel": "6.18.0",
            "boot_id": BOOT_ID,
            "tool": "qtapture 0.1.0",
            "argv": ["qtapture", "record"],
            "clock": "boottime",
            "anchor": {"boottime": START_NS, "monotonic": START_NS, "realtime": EPOCH_NS},
        }

    def tick(self, ns: int = MS) -> int:
        self.time_ns += ns
        return self.time_ns

    def address(self) -> int:
        self._addresses += 0x1000
        return self._addresses

    def emit(self, ring: int, kind: int, raw: bytes, stands_for: int = 0, cpu: int = 0) -> None:
        total = self.submitted.setdefault(kind, [0, 0])
        total[0] += 1
        total[1] += stands_for
        if self._losing:
            lost = self.lost.setdefault(kind, [0, 0])
            lost[0] += 1
            lost[1] += stands_for
        else:
            self.records.append(Emitted(self.time_ns, cpu, ring, raw))

    @contextmanager
    def losing(self) -> Iterator[None]:
        """Samples inside find no room in the ring."""
        self._losing = True
        yield
        self._losing = False

    def losses(self, since_ns: int | None = None) -> None:
        """The recorder tells its counters, cumulative, for every kind."""
        start = self.time_ns - 10 * MS if since_ns is None else since_ns
        time_ns = self.tick()
        for kind, (count, size) in sorted(self.submitted.items()):
            lost, lost_bytes = self.lost.get(kind, (0, 0))
            body = struct.pack("<QB7x6Q", start, kind, count, size, lost, lost_bytes, 0, 0)
            self.records.append(EventRecord(EventType.LOSS, 1, time_ns, body))

    def tell(self, kind: EventType, **body) -> None:
        self.records.append(json_event(kind, self.tick(), **body))

    def hole(self) -> None:
        """Chunks of the file are missing here."""
        self.records.append(Hole(3, 5, 4096, "chunk 4 is missing"))

    def library(self, number: int = LIBRARY, **over) -> None:
        facts = {"number": number, "path": "/usr/lib/libssl.so.3", "version": "OpenSSL 3.0.22"}
        self.tell(EventType.LIBRARY, **(facts | {"hooked": True} | over))

    def run(self, comm: str = "curl", *argv: str, pid: int = 0) -> "Process":
        """A new process that execs at once."""
        process = self.known(comm, pid=pid)
        process.exec(comm, *argv)
        return process

    def known(self, comm: str = "nginx", pid: int = 0, ticks: int = 0) -> "Process":
        """A process of which no start is told."""
        self._pids += 1
        self.tick()
        return Process(self, pid or self._pids, ticks or self.time_ns // 10_000_000, comm)

    # ------------------------------------------------------------------ as a recorder writes it

    def source(self, shuffle: random.Random | None = None) -> ListSource:
        """The session. With ``shuffle``: on random CPUs, in slices cut at random."""
        if shuffle is None:
            records: list[Record] = [
                _slice([r]) if isinstance(r, Emitted) else r for r in self.records
            ]
            return ListSource(records, self.header)
        return ListSource(list(_drained(self.records, shuffle)), self.header)


def _slice(samples: list[Emitted]) -> Slice:
    data = b"".join(perf_sample(s.raw) for s in samples)
    return Slice(samples[0].ring, samples[0].cpu, data)


def _drained(told: list, shuffle: random.Random) -> Iterator[Record]:
    """Rounds as a recorder drains: T is read, then each ring up to a time of its own after T.

    What is younger than T may be in a ring or not yet; what is older certainly is.
    """
    cpus = 4
    rings: dict[tuple[int, int], list[Emitted]] = {}
    cpu_of_call: dict[tuple[int, int], int] = {}
    clock = 0
    waiting = list(told)
    number = 0
    while waiting:
        step = shuffle.randint(1, 12)
        clock = max(_time_of(r) for r in waiting[:step])
        ahead = shuffle.randint(0, 6)
        for record in waiting[: step + ahead]:
            if isinstance(record, Emitted):
                # pieces of one call come from one CPU
                cpu = cpu_of_call.setdefault((record.time_ns, record.ring), shuffle.randrange(cpus))
                rings.setdefault((record.ring, cpu), []).append(record)
            else:
                yield record
        del waiting[: step + ahead]
        keys = list(rings)
        shuffle.shuffle(keys)
        kept: dict[tuple[int, int], list[Emitted]] = {}
        for key in keys:
            samples = rings[key]
            certain = sum(s.time_ns <= clock for s in samples)
            taken = shuffle.randint(certain, len(samples))
            kept[key] = samples[taken:]
            yield from _slices(key, samples[:taken], shuffle)
        rings = {key: samples for key, samples in kept.items() if samples}
        number += 1
        yield round_event(clock + 1, number)
    for key in sorted(rings):
        yield from _slices(key, rings[key], shuffle)


def _slices(key, samples: list[Emitted], shuffle: random.Random) -> Iterator[Slice]:
    while samples:
        count = shuffle.randint(1, len(samples))
        data = b"".join(perf_sample(s.raw) for s in samples[:count])
        yield Slice(key[0], key[1], data)
        samples = samples[count:]


def _time_of(record) -> int:
    return record.time_ns if isinstance(record, Emitted | EventRecord) else 0


class Process:
    """One process of the host."""

    def __init__(self, host: Host, pid: int, ticks: int, comm: str) -> None:
        self.host = host
        self.pid = pid
        self.ticks = ticks
        self.comm = comm

    def head(self, kind: int, type_: int, flags: int = 0, task: bool = True) -> dict:
        return {
            "head__type": type_,
            "head__kind": kind,
            "head__flags": flags | (0 if task else NO_TASK),
            "head__time_ns": self.host.time_ns,
            "head__pid": self.pid if task else 0,
            "head__tid": self.pid if task else 0,
            "head__start_ticks": self.ticks if task else 0,
            "head__comm": self.comm.encode() if task else b"",
        }

    def control(self, struct_name: str, payload: bytes = b"", **values) -> None:
        length = LAYOUTS[struct_name].size + len(payload)
        raw = pack(struct_name, payload, head__length=length, **values)
        self.host.emit(CONTROL, KIND_CONTROL, raw)

    def exec(self, comm: str, *argv: str, uid: int = 1000, file: str = "") -> None:
        self.host.tick()
        self.comm = comm
        path = (file or f"/usr/bin/{comm}").encode()
        area = b"".join(a.encode() + b"\0" for a in (comm, *argv))
        self.control(
            "qt_exec",
            path,
            **self.head(KIND_CONTROL, 1),
            ppid=1,
            ns_pid=self.pid,
            uid=uid,
            gid=uid,
            start_ns=self.ticks * 10_000_000,
            parent_start_ticks=1,
            cgroup_id=77,
            args_len=len(area),
            file_len=len(path),
        )
        exec_ns = self.host.time_ns
        self.control(
            "qt_exec_args",
            area,
            **self.head(KIND_CONTROL, 2),
            exec_ns=exec_ns,
            offset=0,
            captured_len=len(area),
        )

    def fork(self) -> "Process":
        self.host.tick()
        child = self.host.known(self.comm)
        self.control(
            "qt_fork",
            **self.head(KIND_CONTROL, 3),
            child_pid=child.pid,
            child_ns_pid=child.pid,
            child_start_ticks=child.ticks,
            child_start_ns=child.ticks * 10_000_000,
            uid=1000,
            gid=1000,
            cgroup_id=77,
        )
        return child

    def exit(self, code: int = 0) -> None:
        self.host.tick()
        self.control("qt_exit", **self.head(KIND_CONTROL, 4), exit_code=code)

    def connect(self, local: str, peer: str, **over) -> "Socket":
        """SYN_SENT and ESTABLISHED, as a connect that succeeds."""
        socket = Socket(self, local, peer, **over)
        socket.state(CLOSE, SYN_SENT)
        socket.state(SYN_SENT, ESTABLISHED, task=False)
        return socket

    def accept(self, local: str, peer: str, **over) -> "Socket":
        """A connection of a listener: established by a packet, owned at its first call."""
        socket = Socket(self, local, peer, **over)
        socket.state(SYN_RECV, ESTABLISHED, task=False)
        socket.owned = False
        return socket

    def older(self, local: str, peer: str, **over) -> "Socket":
        """A socket that was open before the recording."""
        socket = Socket(self, local, peer, **over)
        socket.flags = OLDER
        return socket

    def listen(self, local: str, **over) -> "Socket":
        socket = Socket(self, local, "0.0.0.0:0", **over)
        socket.state(CLOSE, LISTEN)
        return socket

    def ssl(self, address: int = 0) -> "Ssl":
        return Ssl(self, address or self.host.address())


class Socket:
    """One socket of a process; another one may speak over it with ``by``."""

    def __init__(
        self, process: Process, local: str, peer: str, *, netns: int = NETNS, sk: int = 0
    ) -> None:
        self.process = process
        self.host = process.host
        family, self.local, self.local_port = place(local)
        _, self.peer, self.peer_port = place(peer)
        self.family = family
        self.netns = netns
        self.sk = sk or self.host.address()
        self.birth_ns = self.host.tick()
        self.inode = self.sk >> 12 & 0xFFFF
        self.flags = 0
        self.offsets = [0, 0]
        self.kernel = [0, 0]  # what the kernel counts beside the calls that probes saw
        self.tls = 0
        self.fin = 0
        self.owned = True
        self.introduced = False

    def ids(self) -> dict:
        return {"sock__sk": self.sk, "sock__birth_ns": self.birth_ns, "sock__inode": self.inode}

    def tuple(self) -> dict:
        return {
            "tuple__family": self.family,
            "tuple__protocol": 6,
            "tuple__local_port": self.local_port,
            "tuple__peer_port": self.peer_port,
            "tuple__netns": self.netns,
            "tuple__local": self.local,
            "tuple__peer": self.peer,
        }

    def state(self, old: int, new: int, *, type_: int = 10, task: bool = True, error: int = 0):
        self.host.tick()
        self.process.control(
            "qt_sock_state",
            **self.process.head(KIND_CONTROL, type_, self.flags, task),
            **self.ids(),
            **self.tuple(),
            old_state=old,
            new_state=new,
            error=error,
            bytes_received=self.offsets[0] + self.kernel[0] + self.fin,
            bytes_sent=self.offsets[1] + self.kernel[1],
            owner_pid=self.process.pid if self.owned else 0,
            owner_ticks=self.process.ticks if self.owned else 0,
            seen_received=self.offsets[0],
            seen_sent=self.offsets[1],
        )

    def _call(self, way: int, data: bytes, *, by: Process | None, missing: int, tls: int | None):
        process = by or self.process
        if not self.introduced:
            self.introduced = True
            self.owned = True
            if way == 0:  # the kernel received it before the call returned
                self.kernel[0] += len(data)
            self.state(ESTABLISHED, ESTABLISHED, type_=11)
            if way == 0:
                self.kernel[0] -= len(data)
        self.host.tick()
        at = 0
        while at < len(data):
            piece = data[at : at + PIECE]
            captured = b"" if missing in (2, 3, 4) else piece[:64] if missing == 1 else piece
            self._piece(process, way, (piece, captured), missing, (at, len(data)), tls)
            at += len(piece)
        self.offsets[way] += len(data)

    def _piece(self, process, way, pieces, missing, call, tls) -> None:
        piece, captured = pieces
        kind = KIND_HEADS if missing == 1 else KIND_SOCKET
        raw = pack(
            "qt_sock_data",
            captured,
            **process.head(kind, 20, self.flags),
            **self.ids(),
            head__length=LAYOUTS["qt_sock_data"].size + len(captured),
            offset=self.offsets[way] + call[0],
            call_id=self.host.time_ns,
            call_len=call[1],
            call_offset=call[0],
            captured_len=len(captured),
            piece_len=len(piece),
            direction=way,
            mode=1 if missing == 1 else 0,
            missing=missing if len(captured) < len(piece) else 0,
            tls=self.tls if tls is None else tls,
        )
        self.host.emit(PAYLOAD, kind, raw, len(piece))

    def receive(self, data: bytes, *, by=None, missing: int = 0, tls: int | None = None) -> None:
        self._call(0, data, by=by, missing=missing, tls=tls)

    def send(self, data: bytes, *, by=None, missing: int = 0, tls: int | None = None) -> None:
        self._call(1, data, by=by, missing=missing, tls=tls)

    def close(self, error: int = 0, *, fin: bool = True) -> None:
        """The peer's FIN was received, then CLOSE and the end of the memory."""
        self.fin = int(fin)
        self.state(FIN_WAIT2 if fin else ESTABLISHED, CLOSE, task=False, error=error)
        self.state(CLOSE, CLOSE, type_=12, task=False)


class Ssl:
    """One SSL object of a process."""

    def __init__(self, process: Process, address: int) -> None:
        self.process = process
        self.host = process.host
        self.address = address
        self.birth_ns = self.host.tick()
        self.socket: Socket | None = None
        self.offsets = [0, 0]

    def ids(self) -> dict:
        ids = self.socket.ids() if self.socket else {}
        return {"ssl": self.address, "ssl_birth_ns": self.birth_ns, **ids}

    def join(self, socket: Socket, how: int = NESTED, *, hello: bool = True) -> None:
        """The first record goes out, and the socket is known from then on."""
        self.host.tick()
        self.socket = socket
        socket.tls = 1
        self.process.control(
            "qt_tls_join",
            **self.process.head(KIND_CONTROL, 31),
            **self.ids(),
            **socket.tuple(),
            library=LIBRARY,
            how=how,
        )
        if hello:
            socket.send(HELLO)
            socket.receive(HELLO)

    def _call(self, way: int, data: bytes, missing: int) -> None:
        begin = self.host.time_ns
        self.host.tick()
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            captured = b"" if missing else piece
            raw = pack(
                "qt_tls_data",
                captured,
                **self.process.head(KIND_TLS, 30),
                **self.ids(),
                head__length=LAYOUTS["qt_tls_data"].size + len(captured),
                offset=self.offsets[way] + at,
                call_id=self.host.time_ns,
                call_len=len(data),
                call_offset=at,
                captured_len=len(captured),
                piece_len=len(piece),
                direction=way,
                missing=missing,
                function=way,
                library=LIBRARY,
                call_begin_ns=begin,
            )
            self.host.emit(PAYLOAD, KIND_TLS, raw, len(piece))
        self.offsets[way] += len(data)

    def read(self, data: bytes, missing: int = 0) -> None:
        self._call(0, data, missing)

    def write(self, data: bytes, missing: int = 0) -> None:
        self._call(1, data, missing)

    def free(self) -> None:
        self.host.tick()
        self.process.control(
            "qt_tls_free",
            **self.process.head(KIND_CONTROL, 32),
            **self.ids(),
            total_read=self.offsets[0],
            total_written=self.offsets[1],
        )


# A handshake record whose message is no hello that we would read anything in.
HELLO = b"\x16\x03\x01\x00\x28" + bytes(40)
PROTECTED = b"\x17\x03\x03\x04\x00" + bytes(1024)
