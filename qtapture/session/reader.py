"""Reading a session: everything that holds, in order, and a mark where something is missing."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from qtapture.errors import NotASessionError, UsageError
from qtapture.session.chunk import iter_content, maybe_decompress
from qtapture.session.frames import ChunkKind, chain_of_header, maybe_pack_header, pack_header
from qtapture.session.scan import Finding, Found, Scan
from qtapture.source import EventRecord, Hole, Record, Slice

__all__ = ["SessionReader", "is_readable", "open_session"]

# Kinds whose content is read; others are skipped, known or not.
_READ = frozenset({ChunkKind.RING, ChunkKind.EVENT, ChunkKind.SECRETS})
# Kinds whose payload is a zstd frame; what others hold is not known here.
_CHECKED = _READ | {ChunkKind.CHECKPOINT, ChunkKind.MANIFEST}


class SessionReader:
    """A session, opened: its facts are known, its records can be read again and again."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self.size = file.seek(0, 2)
        scan = Scan(file)
        self._header: Mapping[str, Any] | None = None
        self.header_frame = pack_header({})
        self.manifest: Mapping[str, Any] = {}
        first: Found | None = None
        time_ns: list[int] = []
        for found in scan.iter_chunks():
            first = first or found
            time_ns = [min([*time_ns[:1], found.frame.first_ns]), found.frame.last_ns]
            self._look(found, scan)
        self.first_ns, self.last_ns = time_ns or (0, 0)
        self.header: Mapping[str, Any] = scan.header or self._header or {}
        self.header_frame = scan.header_frame or self.header_frame
        self.findings: tuple[Finding, ...] = tuple(scan.findings)
        self.holes = tuple(scan.holes)
        self.closed = scan.closed
        self.ended = scan.ended
        self.chain_head = scan.chain.hex() if scan.chain else ""
        self.chunks = scan.chunks
        if scan.header is None and first is None:
            raise NotASessionError(f"{path} is not a session", offset=0)
        if scan.header is None and first is not None:
            self._check_header(first)

    def iter_records(self) -> Iterator[Record]:
        """Slices, events, and holes where something is missing, in the order of writing."""
        with self._path.open("rb") as file:
            yield from self._iter_records(Scan(file))

    def _iter_records(self, scan: Scan) -> Iterator[Record]:
        unreadable: Found | None = None
        for found in scan.iter_chunks():
            frame = found.frame
            if found.gap or unreadable:
                detail = found.gap or "a chunk is unreadable"
                yield Hole(found.after, frame.sequence, found.offset, detail)
                unreadable = None
            if frame.kind not in _READ:
                continue
            content = maybe_decompress(found.stored, frame.content_len)
            if content is None:
                unreadable = found
                continue
            for record in iter_content(content, frame.sequence, found.offset):
                if isinstance(record, str):
                    yield Hole(frame.sequence, frame.sequence, found.offset, record)
                else:
                    yield record

    def _look(self, found: Found, scan: Scan) -> None:
        """Is the content as its frame says, and is it a header or a manifest?"""
        frame = found.frame
        for record in _iter_checked(found):
            if isinstance(record, str):
                scan.find("content_damaged", found.offset, frame.sequence, record)
            elif isinstance(record, EventRecord):
                self._fact(frame.kind, record)

    def _fact(self, kind: int, record: EventRecord) -> None:
        if kind not in {ChunkKind.CHECKPOINT, ChunkKind.MANIFEST}:
            return
        try:
            facts = json.loads(bytes(record.body))
        except (ValueError, RecursionError):
            return
        if not isinstance(facts, dict):
            return
        if kind == ChunkKind.MANIFEST:
            self.manifest = facts
            return
        header = facts.get("header")
        frame = maybe_pack_header(header)
        if header and frame:
            self._header, self.header_frame = header, frame

    def _check_header(self, first: Found) -> None:
        """A header out of a checkpoint must be the one that the chain began with."""
        if first.frame.sequence or not self._header:
            return
        if chain_of_header(self.header_frame) != first.frame.previous:
            finding = Finding(code="chain_broken", offset=0, detail="the header was another one")
            self.findings += (finding,)


def is_readable(found: Found) -> bool:
    """Whether the content of a chunk is whole, or of a kind that is not known here."""
    return not any(isinstance(record, str) for record in _iter_checked(found))


def _iter_checked(found: Found) -> Iterator[Slice | EventRecord | str]:
    """The content of a chunk; a text for each thing that is wrong with it."""
    frame = found.frame
    if frame.kind not in _CHECKED:
        return
    content = maybe_decompress(found.stored, frame.content_len)
    if content is None:
        yield "it does not decompress to its stated size"
        return
    yield from iter_content(content, frame.sequence, found.offset)


def open_session(path: Path) -> SessionReader:
    """Open a session and look at every byte of it once.

    Raises:
        NotASessionError: it is none, or nothing in it can be read.
        UsageError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            if not file.seekable():
                raise UsageError(f"{path} is a pipe: save it to a file first")
            return SessionReader(path, file)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
