"""The content of a chunk: parts in order, behind an opening record; and zstd around it.

The only module of the session that knows zstandard.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import zstandard

from qtapture.session.frames import MOST_CONTENT
from qtapture.source import EventRecord, Slice

__all__ = [
    "EVENTS",
    "EVENT_HEAD",
    "OPENING_SIZE",
    "PART_SIZE",
    "Part",
    "compress",
    "event_record",
    "iter_content",
    "maybe_decompress",
    "pack_content",
]

_SALT_BYTES = 16
# salt, version, kind, sequence, parts, reserved
_OPENING = struct.Struct("<16sHHIII")
_PART = struct.Struct("<HHI")  # ring (or EVENTS), cpu, length
EVENT_HEAD = struct.Struct("<IHHQ")  # length of the record, type, version, time
OPENING_SIZE = _OPENING.size
PART_SIZE = _PART.size
EVENTS = 0xFFFF  # in the place of a ring: records of our own
_VERSION = 1
_LEVEL = 3  # level 1 is within noise on text, level 9 seven times slower for 1 to 6 %

# One of each: making a context for every chunk would cost as much as small chunks do.
_compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
_decompressor = zstandard.ZstdDecompressor()


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of one ring and CPU, or of our own records."""

    ring: int
    cpu: int
    data: bytes


def pack_content(kind: int, sequence: int, parts: Sequence[Part]) -> bytes:
    """Content, not yet compressed."""
    # The salt keeps a removed chunk's hash from confirming a guess of what was in it.
    salt = os.urandom(_SALT_BYTES)
    opening = _OPENING.pack(salt, _VERSION, kind, sequence, len(parts), 0)
    table = b"".join(_PART.pack(part.ring, part.cpu, len(part.data)) for part in parts)
    return b"".join((opening, table, *(part.data for part in parts)))


def event_record(type_: int, body: bytes, time_ns: int, version: int = 1) -> bytes:
    """One record of our own."""
    return EVENT_HEAD.pack(EVENT_HEAD.size + len(body), type_, version, time_ns) + body


def iter_content(content: bytes, chunk: int, offset: int) -> Iterator[Slice | EventRecord | str]:
    """Slices and events of a content in order; a text says what is wrong, and ends it."""
    if len(content) < OPENING_SIZE:
        yield "content is too short"
        return
    _, _, _, _, count, _ = _OPENING.unpack_from(content)
    at = OPENING_SIZE + count * PART_SIZE
    if at > len(content):
        yield "the table of parts is longer than the content"
        return
    for ring, cpu, length in _PART.iter_unpack(content[OPENING_SIZE:at]):
        data = content[at : at + length]
        if len(data) < length:
            yield "a part is longer than the content"
            return
        at += length
        if ring == EVENTS:
            yield from _iter_events(data, chunk, offset)
        else:
            yield Slice(ring, cpu, data, chunk, offset)


def compress(content: bytes) -> bytes:
    """One zstd frame, with size and checksum."""
    return _compressor.compress(content)


def maybe_decompress(stored: bytes, size: int) -> bytes | None:
    """The content, None where it is damaged or not of the stated size; never more than that."""
    if size > MOST_CONTENT:
        return None
    try:
        if zstandard.frame_content_size(stored) != size:
            return None
        content = _decompressor.decompress(stored, max_output_size=size)
    except zstandard.ZstdError:
        return None
    return content if len(content) == size else None


def _iter_events(data: bytes, chunk: int, offset: int) -> Iterator[EventRecord | str]:
    at = 0
    while at < len(data):
        if at + EVENT_HEAD.size > len(data):
            yield "a record is cut"
            return
        length, type_, version, time_ns = EVENT_HEAD.unpack_from(data, at)
        if length < EVENT_HEAD.size or at + length > len(data):
            yield "a record has an impossible length"
            return
        body = data[at + EVENT_HEAD.size : at + length]
        yield EventRecord(type_, version, time_ns, body, chunk, offset)
        at += length
