"""The first pass: every sample once, in order of time, into books; then the tables.

Rule 1: a sample that makes no sense costs itself and is counted; nothing raises.
"""

import struct
from collections.abc import Mapping
from typing import Any

from qtapture.events import Library
from qtapture.reassembly.assemble import Books, SideChoice, assemble
from qtapture.reassembly.facts import maybe_object, number, text
from qtapture.reassembly.losses import LossBook
from qtapture.reassembly.merge import Item, Merge
from qtapture.reassembly.plan import Counts, Plan
from qtapture.reassembly.processes import ProcessBook
from qtapture.reassembly.samples import (
    Exec,
    ExecArgs,
    Exit,
    Flag,
    Fork,
    Sample,
    SockData,
    SockState,
    TlsData,
    TlsFree,
    TlsJoin,
    decode,
    sample_kind,
)
from qtapture.reassembly.sockets import SocketBook
from qtapture.source import EventRecord, EventType, Source
from qtapture.timebase import Anchor

__all__ = ["survey"]

# Notes are for people; a recorder that writes more than this says the same thing again.
_MOST_NOTES = 10_000
# One in 60 s: a year of them is half a million.
_MOST_ANCHORS = 1_000_000
_ANCHOR = struct.Struct("<QQQ")


def survey(source: Source, *, side: SideChoice = SideChoice.BEST) -> Plan:
    """Read a source once and build the tables of all that it holds."""
    merge = Merge()
    pass_one = _Survey(text(source.header, "boot_id"))
    pass_one.books.processes.learn_users(source.header.get("users"))
    for item in merge.iter_items(source.iter_records()):
        pass_one.take(item)
    books = pass_one.books
    books.losses.damage(merge.hole_spans)
    counts = books.counts
    counts.samples, counts.lost_marks = merge.samples, merge.lost_marks
    counts.malformed += merge.malformed + books.losses.malformed
    counts.stragglers = merge.late.count
    return assemble(books, source.header, merge.late, side)


class _Survey:
    """Feeds items to the books."""

    def __init__(self, boot_id: str) -> None:
        self.books = Books(
            processes=ProcessBook(boot_id),
            sockets=SocketBook(),
            losses=LossBook(),
            counts=Counts(),
        )
        self._epoch = 0

    def take(self, item: Item) -> None:
        """One sample or event."""
        books = self.books
        self._epoch = item.epoch
        if isinstance(item.what, EventRecord):
            self._event(item.what)
            return
        books.see(item.time_ns)
        kind = sample_kind(item.what)
        books.counts.by_kind[kind] = books.counts.by_kind.get(kind, 0) + 1
        sample = decode(item.what)
        if sample is None:
            books.counts.unknown += 1
            return
        self._sample(sample)

    def _sample(self, sample: Sample) -> None:
        books = self.books
        if not sample.head.flags & Flag.NO_TASK and not isinstance(sample, Exec | Exit | Fork):
            books.processes.seen(sample.head)
        match sample:
            case SockData():
                books.sockets.data(sample, self._epoch)
            case TlsData():
                books.sockets.plaintext(sample, self._epoch)
            case SockState():
                books.sockets.state(sample)
            case TlsJoin():
                books.sockets.join(sample)
            case TlsFree():
                books.sockets.free(sample)
            case _:
                self._process(sample)

    def _process(self, sample: Exec | ExecArgs | Fork | Exit) -> None:
        processes = self.books.processes
        match sample:
            case Exec():
                processes.exec(sample)
            case ExecArgs():
                processes.exec_args(sample)
            case Fork():
                processes.fork(sample)
            case Exit():
                processes.exit(sample)

    def _event(self, record: EventRecord) -> None:
        books = self.books
        if record.type == EventType.LOSS:
            books.losses.loss(record)
        elif record.type == EventType.RING_LOSS:
            books.losses.ring_loss(record)
        elif record.type == EventType.ANCHOR:
            self._anchor(record)
        elif record.type >= EventType.PROCESS:
            body = maybe_object(record.body)
            if body is None:
                books.counts.malformed += 1
            else:
                books.see(record.time_ns)
                self._told(record, body)

    def _anchor(self, record: EventRecord) -> None:
        books = self.books
        if len(record.body) < _ANCHOR.size or len(books.anchors) >= _MOST_ANCHORS:
            books.counts.malformed += 1
            return
        boottime, monotonic, realtime = _ANCHOR.unpack_from(record.body)
        books.anchors.append(
            Anchor(boottime_ns=boottime, monotonic_ns=monotonic, realtime_ns=realtime)
        )

    def _told(self, record: EventRecord, body: Mapping[str, Any]) -> None:
        books = self.books
        match record.type:
            case EventType.PROCESS:
                books.processes.snapshot(record.time_ns, body)
            case EventType.SOCKET:
                books.sockets.snapshot(record.time_ns, body)
            case EventType.LIBRARY:
                found = _library(body)
                books.libraries[found.number] = found
            case EventType.MAPPED:
                key = (number(body, "pid"), number(body, "start_ticks"))
                late = bool(body.get("late"))
                books.mapped.setdefault(key, []).append(
                    (record.time_ns, number(body, "library"), late)
                )
            case EventType.NOTE | EventType.END:
                if len(books.notes) < _MOST_NOTES:
                    books.notes.append((record.time_ns, dict(body)))
            case _:
                books.counts.unknown += 1


def _library(body: Mapping[str, Any]) -> Library:
    return Library(
        number=number(body, "number"),
        path=text(body, "path"),
        build_id=text(body, "build_id"),
        version=text(body, "version"),
        hooked=bool(body.get("hooked", True)),
        detail=text(body, "detail"),
    )
