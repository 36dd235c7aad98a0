"""Writing a session: never seeks, one write for each chunk, nothing kept longer than 250 ms.

Rule 1: what was added first is read first, whatever it is.
Rule 2: after any error of the stream the file is what was written before it: readable.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

from qtapture.session.chunk import (
    EVENTS,
    OPENING_SIZE,
    PART_SIZE,
    Part,
    compress,
    event_record,
    pack_content,
)
from qtapture.session.frames import (
    CHUNK_SIZE,
    MOST_CONTENT,
    ChunkFrame,
    ChunkKind,
    IndexRow,
    chain_of_header,
    chain_of_index,
    pack_chunk,
    pack_header,
    pack_index,
    pack_row,
)

__all__ = ["MOST_EVENT", "SessionWriter"]

# What a kill may cost: a chunk is sealed when its first record is this old.
_SEAL_NS = 250_000_000
# Largest body of an event: three of them fit into a chunk.
MOST_EVENT = 80 << 10
_RECORD = struct.Struct("<IHH")  # struct perf_event_header
# Rows of the index wait in memory until the end: 250,000 chunks of 32 bytes each. Past it the index
# is left out, which costs readers nothing but the walk that they make anyway.
_MOST_INDEX = 250_000 * 32


class SessionWriter:
    """A session being written to a stream that may be a pipe.

    Raises:
        OSError: from any method that writes, when the stream refuses.
    """

    def __init__(self, stream: BinaryIO, header: Mapping[str, Any], *, now_ns: int) -> None:
        self._stream = stream
        self._header = dict(header)
        self._size = 0
        self._whole = 0
        self._sequence = 0
        self._rows: bytearray | None = bytearray()
        self._begin(now_ns)
        frame = pack_header(self._header)
        self._chain = chain_of_header(frame)
        self._write(frame)

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._size

    @property
    def whole(self) -> int:
        """Bytes up to the end of the last frame or chunk that was written as a whole."""
        return self._whole

    @property
    def chain_head(self) -> str:
        """The hash over everything written so far, in hex."""
        return self._chain.hex()

    def add_slice(self, ring: int, cpu: int, data: bytes | memoryview, now_ns: int) -> None:
        """Add whole perf records of one ring and CPU."""
        view = memoryview(data)
        while view:
            end = self._fitting(view)
            if end == 0:
                self.seal(now_ns)
                continue
            self._add(ring, cpu, bytes(view[:end]), now_ns)
            view = view[end:]

    def add_event(self, type_: int, body: bytes, time_ns: int) -> None:
        """Add a record of our own.

        Raises:
            ValueError: the body is larger than `MOST_EVENT`.
        """
        if len(body) > MOST_EVENT:
            raise ValueError(f"a body of {len(body)} bytes")
        record = event_record(type_, body, time_ns)
        if self._used + PART_SIZE + len(record) > MOST_CONTENT:
            self.seal(time_ns)
        self._add(EVENTS, 0, record, time_ns)

    def tick(self, now_ns: int) -> None:
        """Seal what has waited long enough."""
        if self._parts and now_ns - self._first_ns >= _SEAL_NS:
            self.seal(now_ns)

    def seal(self, now_ns: int) -> None:
        """Write what was added, if anything was."""
        if not self._parts:
            return
        rings = any(ring != EVENTS for ring, _, _ in self._parts)
        kind = ChunkKind.RING if rings else ChunkKind.EVENT
        self._write_chunk(kind, [Part(r, c, b"".join(data)) for r, c, data in self._parts])
        self._begin(now_ns)

    def checkpoint(self, now_ns: int) -> None:
        """Write the header once more: a reader takes it where the first one is damaged."""
        self.seal(now_ns)
        self._write_json(ChunkKind.CHECKPOINT, {"header": self._header}, now_ns)

    def close(self, manifest: Mapping[str, Any], now_ns: int) -> str:
        """Write index and manifest; the head of the chain, in hex, names the whole file."""
        self.checkpoint(now_ns)
        if self._rows is not None:
            frame = pack_index(self._sequence, self._rows, self._chain)
            self._chain = chain_of_index(frame)
            self._write(frame)
        facts = {**manifest, "chunks": self._sequence, "bytes": self._size}
        self._write_json(ChunkKind.MANIFEST, facts, now_ns)
        return self.chain_head

    def _begin(self, now_ns: int) -> None:
        self._parts: list[tuple[int, int, list[bytes]]] = []
        self._used = OPENING_SIZE
        self._records = 0
        self._first_ns = self._last_ns = now_ns

    def _add(self, ring: int, cpu: int, data: bytes, now_ns: int) -> None:
        if not self._parts:
            self._first_ns = now_ns
        self._last_ns = max(self._last_ns, now_ns)
        self._records += 1
        self._used += len(data)
        if self._parts and self._parts[-1][:2] == (ring, cpu):
            self._parts[-1][2].append(data)
            return
        self._used += PART_SIZE
        self._parts.append((ring, cpu, [data]))

    def _fitting(self, view: memoryview) -> int:
        """Bytes of whole perf records that still fit into this chunk."""
        room = MOST_CONTENT - self._used - PART_SIZE
        if len(view) <= room:
            return len(view)
        at = 0
        while at + _RECORD.size <= len(view):
            size = _RECORD.unpack_from(view, at)[2]
            if size < _RECORD.size:  # no record: cut anywhere, nothing may stay behind
                return at or (max(room, 0) if not self._parts else 0)
            if at + size > room:
                return at
            at += size
        return at

    def _write_json(self, kind: ChunkKind, facts: Mapping[str, Any], now_ns: int) -> None:
        text = json.dumps(facts, separators=(",", ":"), sort_keys=True).encode("ascii")
        self._first_ns = self._last_ns = now_ns
        self._records = 1
        self._write_chunk(kind, [Part(EVENTS, 0, event_record(0, text, now_ns))])
        self._begin(now_ns)

    def _write_chunk(self, kind: ChunkKind, parts: list[Part]) -> None:
        content = pack_content(kind, self._sequence, parts)
        stored = compress(content)
        frame = ChunkFrame(
            kind=kind,
            sequence=self._sequence,
            first_ns=self._first_ns,
            last_ns=self._last_ns,
            records=self._records,
            content_len=len(content),
            stored_len=len(stored),
            stored_hash=hashlib.sha256(stored).digest(),
            previous=self._chain,
            chain=b"",
        )
        raw = pack_chunk(frame)
        self._note(kind)
        self._write(raw + stored)
        self._chain = raw[CHUNK_SIZE - 36 : CHUNK_SIZE - 4]
        self._sequence += 1

    def _note(self, kind: ChunkKind) -> None:
        if self._rows is None:
            return
        if len(self._rows) >= _MOST_INDEX:
            self._rows = None
            return
        row = IndexRow(
            offset=self._size,
            sequence=self._sequence,
            kind=kind,
            first_ns=self._first_ns,
            last_ns=self._last_ns,
        )
        self._rows += pack_row(row)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # Raw streams may take less than all; a blocking one takes something.
            written = self._stream.write(view) or 0
            self._size += written
            view = view[written:]
        self._whole = self._size
