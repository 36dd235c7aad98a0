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

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from builders.drained import Emitted, as_slice, iter_drained
from builders.records import (
    BOOT_ID,
    CLOSE,
    CONTROL,
    EPOCH_NS,
    ESTABLISHED,
    KIND_CONTROL,
    LIBRARY,
    LISTEN,
    MS,
    NO_TASK,
    OLDER,
    START_NS,
    SYN_RECV,
    SYN_SENT,
    ListSource,
    json_event,
    pack,
)
from builders.sockets import Socket, Ssl

from qtapture.reassembly.layout import LAYOUTS
from qtapture.source import EventRecord, EventType, Hole, Record


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
            "anchor": {
                "boottime_ns": START_NS,
                "monotonic_ns": START_NS,
                "realtime_ns": EPOCH_NS,
            },
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
                as_slice([r]) if isinstance(r, Emitted) else r for r in self.records
            ]
            return ListSource(records, self.header)
        return ListSource(list(iter_drained(self.records, shuffle)), self.header)


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
        socket.owned = False
        socket.state(SYN_RECV, ESTABLISHED, task=False)
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
