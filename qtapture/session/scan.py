"""Walking over a file whose every byte may be wrong: frames that hold, and findings.

Rule 1: no footer is needed, and none is believed: the walk goes from frame to frame, and where
one does not hold it looks for the next chunk by its mark.
Rule 2: memory is bounded whatever the file says: one chunk at a time, one window in a search.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from qtapture.session.frames import (
    CHUNK_MAGIC,
    CHUNK_SIZE,
    HEADER_MAGIC,
    HOLE_MAGIC,
    INDEX_MAGIC,
    MOST_HEADER,
    NOWHERE,
    ChunkFrame,
    ChunkKind,
    Hole,
    IndexRow,
    chain_of_header,
    chain_of_index,
    take_chunk,
    take_header,
    take_hole,
    take_index,
)

__all__ = ["Finding", "Found", "Scan"]

_PREFIX_BYTES = 8
_CHUNK_START = CHUNK_MAGIC.to_bytes(4, "little") + (CHUNK_SIZE - _PREFIX_BYTES).to_bytes(
    4, "little"
)
_MAGICS = tuple(magic.to_bytes(4, "little") for magic in (CHUNK_MAGIC, INDEX_MAGIC, HOLE_MAGIC))
_WINDOW = 1 << 20
_MOST_INDEX = 16 << 20  # 250,000 rows and their frame
_SMALL_FRAME = 4096  # a hole is 92 bytes
# Frames of ours by magic: how long one may say that it is.
_MOST_BYTES = {
    HEADER_MAGIC: MOST_HEADER + _SMALL_FRAME,
    INDEX_MAGIC: _MOST_INDEX,
    HOLE_MAGIC: _SMALL_FRAME,
}
# Payloads that lost bytes are searched for what follows them: 260 KiB each, read twice. A file of
# frames that lie over each other would have all of it searched for each frame.
_MOST_SHORT = 1000
# Chains remembered to tell a repeated chunk from one out of order.
_MOST_REMEMBERED = 4096
_MOST_FINDINGS = 10_000
_MOST_HOLES = 100_000  # 30 MB; a recovery writes one where chunks are missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as a writer leaves it. ``chunk``: sequence number, where known."""

    code: str
    offset: int
    chunk: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        chunk = "" if self.chunk is None else f", chunk {self.chunk}"
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.code} at byte {self.offset}{chunk}{detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One chunk that holds. ``gap``: chunks before it are missing; a text says how many."""

    frame: ChunkFrame
    offset: int  # of the frame
    stored: bytes
    gap: str = ""
    after: int | None = None  # the last good sequence before a gap


class Scan:
    """One walk over a file; its results are complete when `iter_chunks` has ended."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = file.seek(0, 2)
        self.header: dict[str, Any] | None = None
        self.header_frame = b""  # as it stands in the file, where it holds
        self.findings: list[Finding] = []
        self.holes: list[Hole] = []
        self.index: tuple[IndexRow, ...] | None = None
        self.index_link: tuple[bytes, bytes] | None = None  # previous and own hash of the index
        self.closed = False
        self.ended = False  # closed, or a hole says that the end is missing
        self.chain: bytes | None = None
        self.chunks = 0
        self._sequence = 0  # the next one to come
        self._last: int | None = None
        self._skipped = False  # something was left out since the last good frame
        self._recent: OrderedDict[bytes, None] = OrderedDict()
        self._short = 0  # payloads that were searched

    def iter_chunks(self) -> Iterator[Found]:
        """Every chunk that holds, in the order of the file."""
        at = self._take_header()
        while at < self._end:
            raw = self._read(at, CHUNK_SIZE)
            if raw[:_PREFIX_BYTES] == _CHUNK_START:
                frame = take_chunk(raw)
                if frame is not None:
                    found, at = self._chunk(frame, at)
                    if found is not None:
                        yield found
                    continue
            step = self._other_frame(at, raw)
            if step:
                at += step
                continue
            at = self._resynchronise(at)
        self._conclude()

    # ------------------------------------------------------------------ frames

    def _take_header(self) -> int:
        """The first frame; where the walk goes on."""
        frame = self._frame(0, HEADER_MAGIC)
        facts = take_header(frame) if frame else None
        if facts is None or frame is None:
            self.find("header_damaged", 0)
            at = self._search(0)
            return self._end if at is None else at
        self.header, self.header_frame = facts, frame
        self.chain = chain_of_header(frame)
        return len(frame)

    def _chunk(self, frame: ChunkFrame, at: int) -> tuple[Found | None, int]:
        """The chunk, None where it is not to be read; and where the walk goes on."""
        end = at + CHUNK_SIZE + frame.stored_len
        stored = self._read(at + CHUNK_SIZE, frame.stored_len)
        cut = len(stored) < frame.stored_len
        if cut or hashlib.sha256(stored).digest() != frame.stored_hash:
            return None, self._lost(frame, at, end)
        if frame.chain in self._recent:
            self.find("chunk_repeated", at, frame.sequence)
            return None, end
        last = self._last
        gap = self._link(frame, at)
        self._remember(frame.chain)
        if self._skipped:
            gap = gap or "a chunk is unreadable"
            self._skipped = False
        self.chunks += 1
        # Behind a manifest only signatures of it may stand.
        signs = self.closed and frame.kind == ChunkKind.SIGNATURE
        self.closed = self.ended = frame.kind == ChunkKind.MANIFEST or signs
        return Found(frame=frame, offset=at, stored=stored, gap=gap, after=last), end

    def _lost(self, frame: ChunkFrame, at: int, end: int) -> int:
        """A payload is not what its frame says; where the walk goes on."""
        self._skipped = True
        self.ended = False
        following = None if self._follows(end) else self._search_inside(at + CHUNK_SIZE, end)
        if following is None and end > self._end:
            self.find("truncated", at, frame.sequence, "the file ends within this chunk")
            return end
        self.find("payload_damaged", at, frame.sequence)
        # The frame holds, so the chain goes on; the content alone is gone.
        self._link(frame, at)
        return end if following is None else following

    def _follows(self, at: int) -> bool:
        """Whether a frame of ours, or the end of the file, is where a payload should end."""
        magic = int.from_bytes(self._read(at, 4), "little")
        return at == self._end or magic == CHUNK_MAGIC or magic in _MOST_BYTES

    def _search_inside(self, at: int, end: int) -> int | None:
        """The next chunk, within the bytes that a payload which lost some should have had."""
        self._short += 1
        return self._search(at, min(end, self._end)) if self._short <= _MOST_SHORT else None

    def _remember(self, chain: bytes) -> None:
        self._recent[chain] = None
        if len(self._recent) > _MOST_REMEMBERED:
            self._recent.popitem(last=False)

    def _link(self, frame: ChunkFrame, at: int) -> str:
        """Check the chunk against what came before; a text where something is missing."""
        gap = ""
        if frame.sequence > self._sequence:
            count = frame.sequence - self._sequence
            gap = f"{count} chunks are missing"
            self.find("chunks_missing", at, frame.sequence, f"{count} before it")
        elif frame.sequence < self._sequence:
            gap = "chunks are out of order"
            self.find("chunk_out_of_order", at, frame.sequence)
        elif self.chain is not None and frame.previous != self.chain:
            self.find("chain_broken", at, frame.sequence, "it follows another chunk than this")
            gap = "the chain is broken"
        self.chain = frame.chain
        self._sequence = max(self._sequence, frame.sequence + 1)
        self._last = frame.sequence
        return gap

    def _other_frame(self, at: int, raw: bytes) -> int:
        """Take an index or a hole; its size, 0 where there is neither."""
        magic = int.from_bytes(raw[:4], "little")
        frame = self._frame(at, magic) if magic in {INDEX_MAGIC, HOLE_MAGIC} else None
        if frame is None:
            return 0
        if magic == HOLE_MAGIC:
            hole = take_hole(frame)
            if hole is None:
                return 0
            self._hole(hole, at)
            return len(frame)
        index = take_index(frame)
        if index is None:
            return 0
        self.index, previous = index
        if self.chain is not None and previous != self.chain:
            self.find("chain_broken", at, detail="the index follows another chunk than this")
        self.chain = chain_of_index(frame)
        self.index_link = previous, self.chain
        return len(frame)

    def _hole(self, hole: Hole, at: int) -> None:
        # What it says of the side before it must be so: else more is missing than it states.
        last = NOWHERE if self._last is None else self._last
        if hole.last != last or self.chain not in {None, hole.last_chain}:
            self.find("chain_broken", at, detail="the hole follows another chunk than this")
        if len(self.holes) < _MOST_HOLES:
            self.holes.append(hole)
        else:
            self.find("unreadable", at, detail="more holes than are remembered")
        self._sequence, self.chain = hole.next, hole.next_previous
        self._skipped = True
        self.closed = False
        self.ended = hole.next == NOWHERE

    def _frame(self, at: int, magic: int) -> bytes | None:
        """A whole skippable frame of ours, None where it is not, or is too long."""
        prefix = self._read(at, _PREFIX_BYTES)
        size = int.from_bytes(prefix[4:], "little") + _PREFIX_BYTES
        if int.from_bytes(prefix[:4], "little") != magic or size > _MOST_BYTES[magic]:
            return None
        frame = self._read(at, size)
        return frame if len(frame) == size else None

    # ------------------------------------------------------------------ damage

    def _resynchronise(self, at: int) -> int:
        """Where the next chunk that holds begins; what lies between is a finding."""
        self._skipped = True
        self.ended = False
        found = self._search(at + 1)
        if found is None:
            code = "truncated" if self._looks_cut(at) else "unreadable"
            self.find(code, at, detail=f"{self._end - at} bytes up to the end")
            return self._end
        self.find("unreadable", at, detail=f"{found - at} bytes")
        return found

    def _looks_cut(self, at: int) -> bool:
        """Whether these are the first bytes of a frame of ours, and the file ends within it."""
        raw = self._read(at, _PREFIX_BYTES)
        if len(raw) < _PREFIX_BYTES:
            return any(raw[:4] == magic[: len(raw)] for magic in _MAGICS)
        size = int.from_bytes(raw[4:], "little")
        most = _MOST_BYTES.get(int.from_bytes(raw[:4], "little"), 0)
        stated = CHUNK_SIZE if raw == _CHUNK_START else min(_PREFIX_BYTES + size, most)
        return at + stated > self._end

    def _search(self, at: int, end: int | None = None) -> int | None:
        """The next place where a chunk's frame holds, before ``end``."""
        end = self._end if end is None else end
        while at < end:
            window = self._read(at, min(_WINDOW, end - at) + len(_CHUNK_START) - 1)
            place = window.find(_CHUNK_START)
            while place >= 0:
                if take_chunk(self._read(at + place, CHUNK_SIZE)) is not None:
                    return at + place
                place = window.find(_CHUNK_START, place + 1)
            at += _WINDOW
        return None

    def _conclude(self) -> None:
        if self._skipped:
            self.closed = False
        if self.index is not None and not self.closed:
            self.find("manifest_missing", self._end)

    def find(self, code: str, offset: int, chunk: int | None = None, detail: str = "") -> None:
        """Note what is wrong, up to a limit: a hostile file fills no memory."""
        if len(self.findings) < _MOST_FINDINGS:
            finding = Finding(code=code, offset=offset, chunk=chunk, detail=detail)
            self.findings.append(finding)

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)
