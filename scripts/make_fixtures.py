"""Writes the built sessions in fixtures/ anew: the same bytes each time.

usage: PYTHONPATH=tests .venv/bin/python scripts/make_fixtures.py [FOLDER]

They are committed, and kept for ever: every later version reads them (formats/session.md).
"""

import io
import random
import struct
import sys
from pathlib import Path

from builders.records import EPOCH_NS, MS, START_NS
from builders.samples import Host, Process
from builders.sessions import HEADER, chunk_spans, perf_record

from qtapture.session import SessionWriter, chunk
from qtapture.session.frames import Hole, pack_hole, take_chunk
from qtapture.source import EventRecord, EventType, Slice

SEED = 7
FRAME = 152  # bytes of a chunk's frame


def main(folder: Path) -> None:
    """Write all of them."""
    # The salt of contents is random in life; here it comes from a seed.
    chunk.os = Seeded()  # type: ignore[attr-defined, assignment]
    minimal, full = make_minimal(), make_full()
    spans = chunk_spans(minimal)
    (first, first_end), (second, second_end), (third, third_end) = spans[:3]
    flipped = bytearray(minimal)
    flipped[second + FRAME + 20] ^= 0x40
    files = {
        "session-v1-minimal": minimal,
        "session-v1-full": full,
        "damaged-truncated": minimal[: third + FRAME + 10],
        "damaged-flipped-byte": bytes(flipped),
        "damaged-header": minimal[:16] + b"\xff" * 8 + minimal[24:],
        "damaged-chunk-removed": minimal[:second] + minimal[second_end:],
        "damaged-chunks-swapped": minimal[:first]
        + minimal[second:second_end]
        + minimal[first:first_end]
        + minimal[second_end:],
        "damaged-chunk-repeated": minimal[:second_end] + minimal[second:],
        "unclosed": minimal[:third_end],
        "recovered": minimal[:second] + hole_between(minimal, first, third) + minimal[second_end:],
    }
    for name, raw in files.items():
        (folder / f"{name}.qtap").write_bytes(raw)


class Seeded:
    """Stands for `os` where contents take their salt."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)

    def urandom(self, size: int) -> bytes:
        """The same each time."""
        return self._random.randbytes(size)


def make_minimal() -> bytes:
    """Three chunks of one sample and one ROUND each, closed."""
    out = io.BytesIO()
    writer = SessionWriter(out, HEADER, now_ns=0)
    for number in range(3):
        writer.add_slice(0, 0, perf_record(b"sample %d" % number), number * MS)
        writer.add_event(EventType.ROUND, struct.pack("<Q", number), number * MS)
        writer.seal(number * MS)
    writer.close({"reason": "command ended"}, 5 * MS)
    return out.getvalue()


def make_full() -> bytes:
    """Every kind of sample and record that version 1 writes, over many chunks."""
    host = Host()
    tell_everything(host)
    source = host.source(random.Random(SEED))
    out = io.BytesIO()
    writer = SessionWriter(out, source.header, now_ns=START_NS)
    for count, record in enumerate(source.iter_records()):
        if isinstance(record, Slice):
            writer.add_slice(record.ring, record.cpu, record.data, START_NS + count * MS)
        elif isinstance(record, EventRecord):
            writer.add_event(record.type, bytes(record.body), record.time_ns)
        writer.tick(START_NS + count * 9 * MS)
    writer.close({"reason": "SIGINT", "samples": 0}, host.time_ns)
    return out.getvalue()


def tell_everything(host: Host) -> None:
    """A small morning on an imaginary host."""
    host.tell(
        EventType.PROCESS, pid=900, start_ticks=5, comm="nginx", exe="/usr/sbin/nginx", uid=33
    )
    host.tell(EventType.SOCKET, state="LISTEN", local="0.0.0.0", local_port=443, netns=4026531840)
    host.library()
    host.library(2, path="/usr/lib/libgnutls.so.30", hooked=False, detail="no probe for GnuTLS")
    anchor = struct.pack("<QQQ", host.time_ns, host.time_ns, EPOCH_NS)
    host.records.append(EventRecord(EventType.ANCHOR, 1, host.tick(), anchor))
    shell = host.run("bash", "-l")
    child = shell.fork()
    child.exec("curl", "https://example.com/", "-o", "page.html")
    host.tell(EventType.MAPPED, pid=child.pid, start_ticks=child.ticks, library=1, late=False)
    socket = child.connect("10.0.0.2:40000", "93.184.216.34:443")
    ssl = child.ssl()
    ssl.join(socket)
    ssl.write(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
    ssl.read(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + bytes(range(250)) * 160)
    ssl.free()
    socket.close()
    speak_plainly(host, child)
    child.exit(0)
    shell.exit(3 << 8)
    host.losses()
    ring_loss = struct.pack("<IIQ", 1, 0, 1)
    host.records.append(EventRecord(EventType.RING_LOSS, 1, host.tick(), ring_loss))
    host.tell(EventType.NOTE, text="a note for people")
    host.tell(EventType.END, reason="SIGINT", detail="", command_status=None)


def speak_plainly(host: Host, child: Process) -> None:
    """HTTP without TLS, part of which is lost."""
    plain = child.connect("10.0.0.2:40001", "10.0.0.9:80")
    plain.send(b"GET /plain HTTP/1.0\r\n\r\n")
    plain.receive(b"HTTP/1.0 404 Not Found\r\n\r\nno such page")
    with host.losing():
        plain.receive(b"what the ring had no room for")
    plain.close()


def hole_between(raw: bytes, before: int, after: int) -> bytes:
    """What `recover` writes in the place of a chunk."""
    first, second = take_chunk(raw[before : before + FRAME]), take_chunk(raw[after : after + FRAME])
    if first is None or second is None:
        raise AssertionError
    return pack_hole(
        Hole(
            last=first.sequence,
            last_chain=first.chain,
            next=second.sequence,
            next_previous=second.previous,
        )
    )


if __name__ == "__main__":
    root = Path(__file__).parent.parent
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else root / "fixtures")
