"""Structs, perf records, events and sources by hand: the bytes that a recorder would write."""

import ipaddress
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from qtapture.reassembly.layout import LAYOUTS
from qtapture.source import EventRecord, EventType, Record

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


# A handshake record whose message is no hello that we would read anything in.
HELLO = b"\x16\x03\x01\x00\x28" + bytes(40)
PROTECTED = b"\x17\x03\x03\x04\x00" + bytes(1024)
