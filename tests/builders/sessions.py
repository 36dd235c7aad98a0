"""Session files, built by the real writer, and taken apart again to be damaged."""

import io
import struct
from pathlib import Path
from typing import Any

from qtapture.session import SessionReader, SessionWriter, open_session
from qtapture.session.frames import CHUNK_SIZE, take_chunk
from qtapture.source import EventRecord, EventType, Hole, Record, Slice

HEADER: dict[str, Any] = {
    "uuid": "00000000-0000-4000-8000-000000000007",
    "host": "imaginary",
    "boot_id": "b" * 32,
    "anchor": {"boottime_ns": 1_000, "monotonic_ns": 1_000, "realtime_ns": 2_000},
}
MS = 1_000_000


def perf_record(data: bytes) -> bytes:
    """PERF_RECORD_SAMPLE with these raw bytes."""
    body = struct.pack("<I", len(data)) + data
    body += b"\0" * (-(8 + len(body)) % 8)
    return struct.pack("<IHH", 9, 0, 8 + len(body)) + body


def minimal() -> bytes:
    """A closed session of three chunks of records, a checkpoint and a manifest."""
    out = io.BytesIO()
    writer = SessionWriter(out, HEADER, now_ns=0)
    for number in range(3):
        writer.add_slice(0, 0, perf_record(b"sample %d" % number), number * MS)
        writer.add_event(EventType.ROUND, struct.pack("<Q", number), number * MS)
        writer.seal(number * MS)
    writer.close({"reason": "test"}, 5 * MS)
    return out.getvalue()


def unclosed() -> bytes:
    """The same, whose writer was killed."""
    out = io.BytesIO()
    writer = SessionWriter(out, HEADER, now_ns=0)
    for number in range(3):
        writer.add_slice(0, 0, perf_record(b"sample %d" % number), number * MS)
        writer.seal(number * MS)
    return out.getvalue()


def chunk_spans(raw: bytes) -> list[tuple[int, int]]:
    """(start, end) of every chunk, frame and payload, in order."""
    spans = []
    at = 0
    while at < len(raw):
        magic, size = struct.unpack_from("<II", raw, at)
        frame = take_chunk(raw[at : at + CHUNK_SIZE]) if magic == 0x184D2A5D else None
        end = at + 8 + size + (frame.stored_len if frame else 0)
        if frame:
            spans.append((at, end))
        at = end
    return spans


def opened(folder: Path, raw: bytes) -> SessionReader:
    """A reader of these bytes."""
    path = folder / "session.qtap"
    path.unlink(missing_ok=True)  # some file systems flush what is written over: slow
    path.write_bytes(raw)
    return open_session(path)


def told(reader: SessionReader) -> list[str]:
    """Records in order, as short words."""
    return [_word(record) for record in reader.iter_records()]


def _word(record: Record) -> str:
    match record:
        case Slice():
            return bytes(record.data).decode("latin-1")[12:].rstrip("\0")
        case EventRecord():
            return f"event {record.type}"
        case Hole():
            return f"hole {record.after_chunk}-{record.before_chunk}"
