"""Where samples come from: what a session file, a live reader and a list in a test have in common.

Rule 1: a source yields what was written, in the order of writing, and can be read again.
Rule 2: it interprets nothing: ring bytes stay bytes, bodies of events stay bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

__all__ = ["EventRecord", "EventType", "Hole", "Record", "Slice", "Source"]


class EventType(IntEnum):
    """Our own records in a session (formats/session.md)."""

    ROUND = 1
    LOSS = 2
    RING_LOSS = 3
    ANCHOR = 4
    PROCESS = 16  # from here on bodies are JSON
    SOCKET = 17
    LIBRARY = 18
    NOTE = 19
    END = 20
    MAPPED = 21


@dataclass(frozen=True, slots=True)
class Slice:
    """Perf records of one ring and CPU, verbatim and whole (formats/samples.md)."""

    ring: int
    cpu: int
    data: bytes | memoryview
    chunk: int = 0  # sequence number of the chunk
    offset: int = 0  # of the chunk in the file: the way back to the evidence


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One record of our own. ``type`` is not necessarily a known `EventType`."""

    type: int
    version: int
    time_ns: int
    body: bytes | memoryview
    chunk: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Hole:
    """Chunks are missing or unreadable here: whatever they held is unknown."""

    after_chunk: int | None
    before_chunk: int | None
    offset: int
    detail: str = ""


Record = Slice | EventRecord | Hole


class Source(Protocol):
    """Something that recorded samples can be read from, more than once."""

    @property
    def header(self) -> Mapping[str, Any]:
        """Facts of the recording: uuid, host, kernel, boot_id, clock, anchor."""

    def iter_records(self) -> Iterator[Record]:
        """All records from the beginning, in the order of writing."""
