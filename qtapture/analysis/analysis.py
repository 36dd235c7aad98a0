"""From a source of samples to traffic and exchanges in order of time.

Rule 1: the first pass happens when an analysis is opened, the second one each time that items
are asked for; both are the same each time.
Rule 2: damage is told, never an error: what can be read is read.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qtapture.events import (
    Closed,
    Connection,
    Exchange,
    Gap,
    Loss,
    Opened,
    ProcessExited,
    ProcessStarted,
    Segment,
    Tables,
    Traffic,
    Verdict,
)
from qtapture.protocols.conversation import Conversation
from qtapture.reassembly import Plan, SideChoice, iter_traffic, survey
from qtapture.session import open_session
from qtapture.source import Source
from qtapture.timebase import Clock

__all__ = ["Analysis", "Item", "analyse", "open_analysis"]

Item = Traffic | Exchange
_HASH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What the survey found, and the way to everything else."""

    source: Source
    plan: Plan
    tables: Tables
    clock: Clock
    closed: bool = True  # the recording ended properly
    findings: tuple[str, ...] = ()  # damage of the file, each with its place

    @property
    def complete(self) -> bool:
        """Whether the file is as its writer wanted to leave it."""
        return self.closed and not self.findings

    @property
    def header(self) -> Mapping[str, Any]:
        """The session's header."""
        return self.source.header

    def iter_traffic(self) -> Iterator[Traffic]:
        """Bytes and events alone, for those who want no exchanges."""
        return iter_traffic(self.source, self.plan)

    def iter_items(self) -> Iterator[Item]:
        """Traffic in order of time, each exchange after what completed it.

        Whoever takes an exchange closes it, to give the storage of its bodies back.
        """
        return _Conversations().iter_items(self.iter_traffic())


class _Conversations:
    """Feeds each connection's traffic to a conversation of its own, and numbers exchanges."""

    def __init__(self) -> None:
        self._open: dict[int, Conversation] = {}
        self._count = 0

    def iter_items(self, traffic: Iterator[Traffic]) -> Iterator[Item]:
        for item in traffic:
            match item:
                case Segment() | Gap():
                    yield item
                    yield from self._payload(item)
                case Closed():
                    # What ends with the connection is completed by its end.
                    yield from self._close(item)
                    yield item
                case Opened() | Loss() | ProcessStarted() | ProcessExited():
                    yield item

    def _payload(self, item: Segment | Gap) -> Iterator[Exchange]:
        connection = item.connection
        if connection.verdict is Verdict.OPAQUE:
            return
        conversation = self._of(connection)
        found = conversation.feed(item) if isinstance(item, Segment) else conversation.gap(item)
        yield from self._numbered(found)

    def _of(self, connection: Connection) -> Conversation:
        found = self._open.get(connection.number)
        if found is None:
            found = self._open[connection.number] = Conversation(connection)
        return found

    def _close(self, item: Closed) -> Iterator[Exchange]:
        conversation = self._open.pop(item.connection.number, None)
        if conversation is not None:
            yield from self._numbered(conversation.close(item.time_ns))

    def _numbered(self, exchanges: list[Exchange]) -> Iterator[Exchange]:
        for exchange in exchanges:
            self._count += 1
            yield replace(exchange, number=self._count)


def analyse(source: Source, *, side: SideChoice = SideChoice.BEST) -> Analysis:
    """Survey any source: a list in a test is as good as a file."""
    plan = survey(source, side=side)
    return Analysis(source=source, plan=plan, tables=plan.tables, clock=Clock(plan.anchors))


def open_analysis(path: Path, *, side: SideChoice = SideChoice.BEST) -> Analysis:
    """Open a session file and survey it.

    Raises:
        NotASessionError: it is none, or nothing in it can be read.
        UsageError: it cannot be opened.
    """
    reader = open_session(path)
    found = analyse(reader, side=side)
    findings = tuple(str(finding) for finding in reader.findings)
    facts = {
        **found.tables.facts,
        "sha256": _sha256(path),
        "chain_head": _hex(reader.chain_head),
        "closed": "yes" if reader.closed else "no",
        "damaged": "yes" if findings else "no",
    }
    tables = replace(found.tables, facts={name: text for name, text in facts.items() if text})
    return replace(found, tables=tables, closed=reader.closed, findings=findings)


def _hex(value: bytes | str | None) -> str:
    return value.hex() if isinstance(value, bytes) else value or ""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_HASH_BYTES):
            digest.update(piece)
    return digest.hexdigest()
