"""The frames of a session file (formats/session.md 2 to 5): pack them, and take them apart.

Rule 1: every frame of ours is a zstd skippable frame, so that any zstd reads past it.
Rule 2: every byte of a frame is covered by its CRC-32, and by the hash chain.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

__all__ = [
    "CHUNK_MAGIC",
    "CHUNK_SIZE",
    "HEADER_MAGIC",
    "HOLE_MAGIC",
    "INDEX_MAGIC",
    "MOST_CONTENT",
    "MOST_HEADER",
    "MOST_STORED",
    "NOWHERE",
    "VERSION",
    "ChunkFrame",
    "ChunkKind",
    "Hole",
    "IndexRow",
    "chain_of_header",
    "chain_of_index",
    "crc_fits",
    "maybe_pack_header",
    "pack_chunk",
    "pack_header",
    "pack_hole",
    "pack_index",
    "pack_row",
    "take_chunk",
    "take_header",
    "take_hole",
    "take_index",
]

VERSION = 1
# RFC 8878 3.1.2: skippable frames are 0x184D2A50 to 0x184D2A5F.
HEADER_MAGIC = 0x184D2A5C
CHUNK_MAGIC = 0x184D2A5D
INDEX_MAGIC = 0x184D2A5E
HOLE_MAGIC = 0x184D2A5F

# In a hole: no chunk before it, or none known after it.
NOWHERE = 0xFFFFFFFF

# What a reader must be ready to hold; nothing is decompressed past it.
MOST_CONTENT = 256 << 10
# ZSTD_compressBound of the above, rounded up: incompressible bytes grow by 0.4 %.
MOST_STORED = 260 << 10
# The header's JSON, which must fit into a chunk too (checkpoints repeat it).
MOST_HEADER = 240 << 10

_PREFIX = struct.Struct("<II")  # magic, size of what follows
_HEADER = struct.Struct("<II4sHHI")  # prefix, "QTAP", version, flags, length of the JSON
_CHUNK = struct.Struct("<II4sHHIIQQIII32s32s32s")
_INDEX = struct.Struct("<II4sHHII")  # prefix, "QTIX", version, flags, sequence, rows
_ROW = struct.Struct("<QIHHQQ")  # offset, sequence, kind, flags, first and last time
_HOLE = struct.Struct("<II4sHHI32sI32s")  # prefix, "QTHO", version, flags, last, its hash, next...
_CRC = struct.Struct("<I")
_HASHES = struct.Struct("<32s32s")  # previous, own
_HASH_BYTES = 32
CHUNK_SIZE = _CHUNK.size + _CRC.size
_CHAINED = 84  # of a chunk frame: everything before the two hashes of the chain
_OPENING = b"qtapture session 1\n"  # what the chain begins with


class ChunkKind(IntEnum):
    """What a chunk holds; those without a use yet are reserved from version 1 on."""

    RING = 1
    EVENT = 2
    SECRETS = 3
    CHECKPOINT = 4
    MANIFEST = 5
    ENCRYPTED = 6
    SIGNATURE = 7
    CONTINUED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkFrame:
    """The header of one chunk. ``version``, ``kind`` and ``flags`` may be unknown ones."""

    kind: int
    sequence: int
    first_ns: int
    last_ns: int
    records: int
    content_len: int
    stored_len: int
    stored_hash: bytes
    previous: bytes
    chain: bytes
    version: int = VERSION
    flags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """Where one chunk is."""

    offset: int
    sequence: int
    kind: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """What `recover` leaves where chunks are missing."""

    last: int
    last_chain: bytes
    next: int
    next_previous: bytes


def pack_header(facts: Mapping[str, Any]) -> bytes:
    """The first frame of a file.

    Raises:
        ValueError: the facts are longer than `MOST_HEADER`.
    """
    text = json.dumps(facts, separators=(",", ":"), sort_keys=True).encode("ascii")
    if len(text) > MOST_HEADER:
        raise ValueError(f"a header of {len(text)} bytes")
    size = _HEADER.size - _PREFIX.size + len(text) + _CRC.size
    return _sealed(_HEADER.pack(HEADER_MAGIC, size, b"QTAP", VERSION, 0, len(text)) + text)


def maybe_pack_header(facts: object) -> bytes | None:
    """The same of facts out of a file, None where no writer can have begun with them."""
    if not isinstance(facts, dict):
        return None
    try:
        return pack_header(facts)
    except (ValueError, RecursionError):  # written raw it may be short, and nested to any depth
        return None


def take_header(frame: bytes) -> dict[str, Any] | None:
    """The facts in a header frame, None where it is damaged."""
    if len(frame) < _HEADER.size + _CRC.size or not crc_fits(frame):
        return None
    _, _, mark, _, _, length = _HEADER.unpack_from(frame)
    if mark != b"QTAP":
        return None
    try:
        facts = json.loads(frame[_HEADER.size : _HEADER.size + length])
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def chain_of_header(frame: bytes) -> bytes:
    """The hash that the first chunk names as its previous one."""
    return hashlib.sha256(_OPENING + frame).digest()


def pack_chunk(frame: ChunkFrame) -> bytes:
    """A chunk's frame; its chain is computed here."""
    head = _CHUNK.pack(
        *(CHUNK_MAGIC, CHUNK_SIZE - _PREFIX.size, b"QTCK", frame.version, frame.kind),
        *(frame.flags, frame.sequence, frame.first_ns, frame.last_ns, frame.records),
        *(frame.content_len, frame.stored_len, frame.stored_hash, frame.previous, b""),
    )[:_CHAINED]
    return _sealed(head + frame.previous + _chain(frame.previous, head))


def take_chunk(raw: bytes) -> ChunkFrame | None:
    """The chunk frame in these bytes, None where they are none, or are damaged."""
    if len(raw) < CHUNK_SIZE or not crc_fits(raw[:CHUNK_SIZE]):
        return None
    _, _, mark, version, kind, flags, *rest = _CHUNK.unpack_from(raw)
    sequence, first_ns, last_ns, records, content_len, stored_len, stored, previous, chain = rest
    if mark != b"QTCK" or content_len > MOST_CONTENT or stored_len > MOST_STORED:
        return None
    if chain != _chain(previous, raw[:_CHAINED]):
        return None
    return ChunkFrame(
        kind=kind,
        sequence=sequence,
        first_ns=first_ns,
        last_ns=last_ns,
        records=records,
        content_len=content_len,
        stored_len=stored_len,
        stored_hash=stored,
        previous=previous,
        chain=chain,
        version=version,
        flags=flags,
    )


def pack_row(row: IndexRow) -> bytes:
    """One row of an index: 32 bytes, as they wait in memory too."""
    return _ROW.pack(row.offset, row.sequence, row.kind, 0, row.first_ns, row.last_ns)


def pack_index(sequence: int, rows: bytes | bytearray, previous: bytes) -> bytes:
    """The frame that says where chunks are; ``rows`` are packed ones."""
    size = _INDEX.size - _PREFIX.size + len(rows) + _HASHES.size + _CRC.size
    count = len(rows) // _ROW.size
    head = _INDEX.pack(INDEX_MAGIC, size, b"QTIX", VERSION, 0, sequence, count) + rows
    return _sealed(head + _HASHES.pack(previous, _chain(previous, head)))


def take_index(frame: bytes) -> tuple[tuple[IndexRow, ...], bytes] | None:
    """Rows and previous hash of an index frame, None where it is damaged."""
    least = _INDEX.size + _HASHES.size + _CRC.size
    if len(frame) < least or not crc_fits(frame):
        return None
    _, _, mark, _, _, _, count = _INDEX.unpack_from(frame)
    end = _INDEX.size + _ROW.size * count
    if mark != b"QTIX" or end + _HASHES.size + _CRC.size != len(frame):
        return None
    previous, chain = _HASHES.unpack_from(frame, end)
    if chain != _chain(previous, frame[:end]):
        return None
    rows = tuple(
        IndexRow(offset=offset, sequence=sequence, kind=kind, first_ns=first, last_ns=last)
        for offset, sequence, kind, _, first, last in _ROW.iter_unpack(frame[_INDEX.size : end])
    )
    return rows, previous


def chain_of_index(frame: bytes) -> bytes:
    """The own hash of an index frame."""
    return frame[-_CRC.size - _HASH_BYTES : -_CRC.size]


def pack_hole(hole: Hole) -> bytes:
    """The frame that `recover` puts where something is missing."""
    size = _HOLE.size - _PREFIX.size + _CRC.size
    return _sealed(
        _HOLE.pack(
            *(HOLE_MAGIC, size, b"QTHO", VERSION, 0),
            *(hole.last, hole.last_chain, hole.next, hole.next_previous),
        )
    )


def take_hole(frame: bytes) -> Hole | None:
    """The hole in a frame, None where it is damaged."""
    if len(frame) != _HOLE.size + _CRC.size or not crc_fits(frame):
        return None
    _, _, mark, _, _, last, last_chain, next_, previous = _HOLE.unpack_from(frame)
    if mark != b"QTHO":
        return None
    return Hole(last=last, last_chain=last_chain, next=next_, next_previous=previous)


def crc_fits(frame: bytes) -> bool:
    """Whether the CRC-32 at the end is that of everything before it, the prefix included."""
    return zlib.crc32(frame[: -_CRC.size]) == int.from_bytes(frame[-_CRC.size :], "little")


def _sealed(frame: bytes) -> bytes:
    return frame + _CRC.pack(zlib.crc32(frame))


def _chain(previous: bytes, head: bytes) -> bytes:
    # The hash of the payload stands in the head, so that this covers it.
    return hashlib.sha256(previous + head).digest()
