"""What can befall a session file, and what must still be readable of it.

raw = changed(minimal(), at=200, by=0x5A)
assert read_of(open_session(path)) == whole_chunks(raw)
"""

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builders.sessions import chunk_spans, opened

from qtapture.session import SessionReader, Verification, verify_session
from qtapture.session.chunk import (
    EVENTS,
    Part,
    compress,
    event_record,
    iter_content,
    maybe_decompress,
    pack_content,
)
from qtapture.session.frames import (
    CHUNK_SIZE,
    HEADER_MAGIC,
    INDEX_MAGIC,
    ChunkFrame,
    ChunkKind,
    chain_of_header,
    pack_chunk,
    pack_header,
    take_chunk,
)
from qtapture.session.recover import Recovery, recover_session
from qtapture.source import EventRecord, Hole, Slice

CHUNK_START = bytes.fromhex("5d2a4d1890000000")  # magic and size, formats/session.md 3.1
CODES = {
    *("header_damaged", "truncated", "unreadable", "payload_damaged", "content_damaged"),
    *("chunks_missing", "chunk_out_of_order", "chunk_repeated", "chain_broken"),
    "manifest_missing",
}
Rows = list[tuple[int, bytes]]  # sequence of the chunk, and one slice or body of a record


def changed(raw: bytes, at: int, by: int) -> bytes:
    """One byte is another."""
    return raw[:at] + bytes([raw[at] ^ by]) + raw[at + 1 :]


def pieces(raw: bytes) -> tuple[bytes, list[bytes], bytes]:
    """What stands before the first chunk, the chunks, and the index with what follows it."""
    spans = chunk_spans(raw)
    return raw[: spans[0][0]], [raw[start:stop] for start, stop in spans], _index_of(raw, spans)


def joined(head: bytes, chunks: list[bytes], index: bytes) -> bytes:
    """The reverse of `pieces`: the index stands before the last chunk."""
    return b"".join([head, *chunks[:-1], index, chunks[-1]])


def _index_of(raw: bytes, spans: list[tuple[int, int]]) -> bytes:
    return raw[spans[-2][1] : spans[-1][0]]


@dataclass(frozen=True)
class Told:
    """What the tools say of some bytes."""

    reader: SessionReader
    verification: Verification
    rows: Rows


def told_of(folder: Path, raw: bytes) -> Told:
    """Read and verify these bytes. Raises NotASessionError where they are none."""
    reader = opened(folder, raw)
    return Told(reader, verify_session(folder / "session.qtap"), read_of(reader))


def recovered(folder: Path, raw: bytes) -> tuple[Recovery, bytes]:
    """Recover these bytes; they must stay as they are."""
    path = folder / "session.qtap"
    reader = opened(folder, raw)
    out = io.BytesIO()
    found = recover_session(reader, path, out)
    assert path.read_bytes() == raw
    return found, out.getvalue()


def read_of(reader: SessionReader) -> Rows:
    """Everything that a reader gives out, but holes."""
    records = (record for record in reader.iter_records() if not isinstance(record, Hole))
    return [(record.chunk, _bytes_of(record)) for record in records]


def _bytes_of(record: Slice | EventRecord) -> bytes:
    return bytes(record.data if isinstance(record, Slice) else record.body)


def whole_chunks(raw: bytes) -> Rows:
    """What can be read of these bytes by brute force: wherever a chunk holds, each once."""
    rows: Rows = []
    seen: set[bytes] = set()
    for match in re.finditer(re.escape(CHUNK_START), raw):
        at = match.start()
        frame = take_chunk(raw[at : at + CHUNK_SIZE])
        if frame is None or frame.chain in seen:
            continue
        stored = raw[at + CHUNK_SIZE : at + CHUNK_SIZE + frame.stored_len]
        if hashlib.sha256(stored).digest() != frame.stored_hash:
            continue
        seen.add(frame.chain)
        rows += _rows_of(frame.kind, frame.sequence, maybe_decompress(stored, frame.content_len))
    return rows


def _rows_of(kind: int, sequence: int, content: bytes | None) -> Iterator[tuple[int, bytes]]:
    if content is None or kind not in {ChunkKind.RING, ChunkKind.EVENT, ChunkKind.SECRETS}:
        return
    for record in iter_content(content, sequence, 0):
        if not isinstance(record, str):
            yield sequence, _bytes_of(record)


def check_findings(told: Told, size: int) -> None:
    """Every finding has a name of the format's, and a place in the file."""
    for finding in told.verification.findings:
        assert finding.code in CODES
        assert 0 <= finding.offset <= size
        if finding.code.startswith(("chunk", "payload", "content")):
            assert finding.chunk is not None


# ---------------------------------------------------------------------- what no writer writes


def header_of(text: bytes) -> bytes:
    """A header frame that holds, around any text."""
    frame = struct.pack("<II4sHHI", HEADER_MAGIC, 16 + len(text), b"QTAP", 1, 0, len(text)) + text
    return frame + struct.pack("<I", zlib.crc32(frame))


def frame_alone(
    sequence: int, *, kind: int = ChunkKind.RING, stored_len: int = 0, after: bytes = bytes(152)
) -> bytes:
    """The frame of a chunk, without a payload, that follows a chunk."""
    return chunk_of(b"", sequence, kind, after[116:148], stored_len=stored_len)


def chunk_of(
    stored: bytes,
    sequence: int,
    kind: int,
    previous: bytes,
    *,
    content_len: int = 0,
    stored_len: int | None = None,
) -> bytes:
    """A chunk that holds, of any payload."""
    frame = ChunkFrame(
        kind=kind,
        sequence=sequence,
        first_ns=0,
        last_ns=0,
        records=1,
        content_len=content_len,
        stored_len=len(stored) if stored_len is None else stored_len,
        stored_hash=hashlib.sha256(stored).digest(),
        previous=previous,
        chain=b"",
    )
    return pack_chunk(frame) + stored


def sealed_anew(chunk: bytes, stored: bytes) -> bytes:
    """A chunk with another payload in it: its frame holds."""
    frame = take_chunk(chunk)
    return chunk_of(
        stored, frame.sequence, frame.kind, frame.previous, content_len=frame.content_len
    )


def session_of(
    bodies: list[bytes], *, first: bytes = b"", header: bytes = b"", kind: int = ChunkKind.EVENT
) -> bytes:
    """An unclosed session of a chunk for each body of a record."""
    records = [event_record(0, body, 0) for body in ([first, *bodies] if first else bodies)]
    contents = [
        pack_content(kind, sequence, [Part(EVENTS, 0, record)])
        for sequence, record in enumerate(records)
    ]
    return _session(header or pack_header({"host": "made"}), contents, kind)


def session_with_checkpoint(text: bytes) -> bytes:
    """An unclosed session of one checkpoint, with any text in it."""
    return session_of([text], kind=ChunkKind.CHECKPOINT)


def session_holding(content: bytes, kind: int) -> bytes:
    """An unclosed session of one chunk with this content, and one behind it."""
    last = pack_content(kind, 1, [])
    return _session(pack_header({"host": "made"}), [content, last], kind)


def _session(header: bytes, contents: list[bytes], kind: int) -> bytes:
    raw, chain = header, chain_of_header(header)
    for sequence, content in enumerate(contents):
        size = len(content)
        chunk = chunk_of(compress(content), sequence, kind, chain, content_len=size)
        raw += chunk
        chain = chunk[116:148]
    return raw


def resealed(raw: bytes) -> bytes:
    """Every frame of ours that can be made out, with hashes and checksum that hold."""
    out = bytearray(raw)
    for match in re.finditer(_FRAME_START, raw):
        at, size = match.start(), 8 + int.from_bytes(raw[match.start() + 4 : match.end()], "little")
        if match[0] == CHUNK_START:
            _reseal_chunk(out, at)
        elif 12 <= size <= len(raw) - at:
            _reseal_frame(out, at, size)
    return bytes(out)


# Header, chunk, index, hole: magic and size.
_FRAME_START = re.compile(rb"[\x5c-\x5f]\x2a\x4d\x18....", re.DOTALL)


def _reseal_chunk(out: bytearray, at: int) -> None:
    if at + CHUNK_SIZE > len(out):
        return
    stored_len = int.from_bytes(out[at + 48 : at + 52], "little")
    stored = out[at + CHUNK_SIZE : at + CHUNK_SIZE + stored_len]
    out[at + 52 : at + 84] = hashlib.sha256(stored).digest()
    previous = out[at + 84 : at + 116]
    out[at + 116 : at + 148] = hashlib.sha256(previous + out[at : at + 84]).digest()
    out[at + 148 : at + 152] = struct.pack("<I", zlib.crc32(out[at : at + 148]))


def _reseal_frame(out: bytearray, at: int, size: int) -> None:
    if out[at] == INDEX_MAGIC & 0xFF and size >= 24 + 68:
        head, previous = out[at : at + size - 68], out[at + size - 68 : at + size - 36]
        out[at + size - 36 : at + size - 4] = hashlib.sha256(previous + head).digest()
    out[at + size - 4 : at + size] = struct.pack("<I", zlib.crc32(out[at : at + size - 4]))
