"""Connections as exports see them, made of what the survey knows of their ends."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from qtapture.events import (
    Connection,
    Direction,
    EndpointView,
    Library,
    Process,
    Reason,
    ReasonCode,
    Side,
    TlsFacts,
    Verdict,
)
from qtapture.reassembly.account import Account, worse
from qtapture.reassembly.addresses import endpoint, errno_name
from qtapture.reassembly.plan import Holes, Route, SourceKey
from qtapture.reassembly.processes import ProcessBook, ProcessKey
from qtapture.reassembly.rows import RECEIVED, SENT, SocketRow, SslRow

__all__ = ["End", "Entry", "build"]

# By what an end receives and sends.
_DIRECTIONS = {
    Side.CLIENT: (Direction.S2C, Direction.C2S),
    Side.SERVER: (Direction.C2S, Direction.S2C),
}


@dataclass(slots=True, kw_only=True)
class End:
    """One end: a socket, or an SSL object whose socket is not known."""

    account: Account
    row: SocketRow | None = None
    ssl: SslRow | None = None
    side: Side = Side.CLIENT

    def __post_init__(self) -> None:
        if self.row is not None:
            self.side = self.row.side or Side.CLIENT

    @property
    def first_ns(self) -> int:
        """First thing seen of it."""
        found = self.row or self.ssl
        return found.first_ns if found else 0

    @property
    def last_ns(self) -> int:
        """Last thing seen of it."""
        found = self.row or self.ssl
        return found.last_ns if found else 0

    @property
    def directions(self) -> tuple[Direction, Direction]:
        """What it receives and what it sends."""
        return _DIRECTIONS[self.side]

    def way(self, direction: Direction) -> int:
        """Whether a direction is received or sent here."""
        return RECEIVED if self.directions[RECEIVED] == direction else SENT


@dataclass(slots=True, kw_only=True)
class Entry:
    """One connection to be shown, and its other end where that is here too."""

    shown: End
    other: End | None = None

    @property
    def order(self) -> tuple[int, int, int, int]:
        """Of first sight, whatever the order in memory; the end shown decides on a tie."""
        first = min(self.shown.first_ns, self.other.first_ns if self.other else 1 << 64)
        found = self.shown.row or self.shown.ssl
        key = found.key if found else (0, 0)
        return first, self.shown.first_ns, key[0], key[1]


def build(
    entries: Iterable[Entry], processes: ProcessBook, libraries: Mapping[int, Library]
) -> tuple[list[Connection], dict[SourceKey, Route], dict[int, Holes]]:
    """Number the entries and route their sources."""
    connections: list[Connection] = []
    routes: dict[SourceKey, Route] = {}
    holes: dict[int, Holes] = {}
    for at, entry in enumerate(entries, 1):
        made = _Maker(entry, processes, libraries).connection(at)
        connections.append(made)
        _route(entry.shown, made, routes)
        ways = entry.shown.account.ways
        if ways[0].holes or ways[1].holes:
            c2s = ways[entry.shown.way(Direction.C2S)].holes
            s2c = ways[entry.shown.way(Direction.S2C)].holes
            holes[at] = (c2s, s2c)
    return connections, routes, holes


def _route(end: End, connection: Connection, routes: dict[SourceKey, Route]) -> None:
    opaque = next(iter(end.account.reasons), None)
    head_reason = opaque.code if opaque is not None else ReasonCode.NO_PROBE
    for part in end.account.parts:
        source = part.source
        key: SourceKey | None
        if source is not None:
            key = (source.key, source.socket)
        else:
            key = end.row.key if end.row is not None else None
        if key is not None:
            routes[key] = Route(
                connection=connection,
                directions=end.directions,
                shifts=part.shifts,
                limits=part.limits,
                plaintext=source is not None,
                head_reason=head_reason,
            )


class _Maker:
    """Makes one connection of one entry."""

    def __init__(
        self, entry: Entry, processes: ProcessBook, libraries: Mapping[int, Library]
    ) -> None:
        self._entry = entry
        self._processes = processes
        self._libraries = libraries
        self._by_side = {entry.shown.side: entry.shown}
        if entry.other is not None:
            self._by_side.setdefault(entry.other.side, entry.other)

    def connection(self, at: int) -> Connection:
        """The connection by the number ``at``."""
        shown = self._entry.shown
        speakers = self._speakers(shown)
        c2s = shown.account.ways[shown.way(Direction.C2S)]
        s2c = shown.account.ways[shown.way(Direction.S2C)]
        made = Connection(
            number=at,
            client=None,
            server=None,
            side=shown.side,
            owner=speakers[0] if speakers else None,
            processes=speakers,
            client_process=self._process_of(Side.CLIENT),
            server_process=self._process_of(Side.SERVER),
            tls=self._tls(shown),
            first_ns=self._entry.order[0],
            last_ns=max(shown.last_ns, self._entry.other.last_ns if self._entry.other else 0),
            verdict=worse(c2s.verdict, s2c.verdict),
            verdict_c2s=c2s.verdict,
            verdict_s2c=s2c.verdict,
            reasons=self._reasons(shown),
            endpoints=tuple(self._view(end) for end in self._ends()),
        )
        return made if shown.row is None else self._with_socket(made, shown, shown.row)

    def _ends(self) -> list[End]:
        both = (self._by_side.get(Side.CLIENT), self._by_side.get(Side.SERVER))
        return [end for end in both if end is not None]

    def _with_socket(self, made: Connection, shown: End, row: SocketRow) -> Connection:
        local = endpoint(row.local, row.local_port) if row.placed else None
        peer = endpoint(row.peer, row.peer_port) if row.placed else None
        is_client = shown.side is Side.CLIENT
        final = row.final
        error = None if row.established_ns is not None else errno_name(row.error)
        return replace(
            made,
            client=local if is_client else peer,
            server=peer if is_client else local,
            netns=row.netns,
            inode=row.inode,
            cookie=row.cookie,
            encrypted=row.tls,
            connect_ns=self._first("connect_ns"),
            established_ns=self._first("established_ns"),
            closed_ns=row.closed_ns,
            error=error if row.connect_ns is not None else None,
            older=row.older,
            bytes_c2s=final[shown.way(Direction.C2S)] if final else None,
            bytes_s2c=final[shown.way(Direction.S2C)] if final else None,
        )

    def _first(self, name: str) -> int | None:
        """A time as the client's end has it, else the server's."""
        times = [getattr(end.row, name) for end in self._ends() if end.row is not None]
        return next((time for time in times if time is not None), None)

    def _speakers(self, end: End) -> tuple[Process, ...]:
        first: dict[ProcessKey, int] = {}
        sources = [end.row.speakers, *(o.speakers for o in end.row.objects)] if end.row else []
        if end.ssl is not None:
            sources.append(end.ssl.speakers)
        for speakers in sources:
            for key, time_ns in speakers.first.items():
                first[key] = min(time_ns, first.get(key, time_ns))
        ordered = sorted(first, key=lambda key: (first[key], key))
        if not ordered and end.row is not None and end.row.owner[0]:
            ordered = [end.row.owner]
            first[end.row.owner] = end.row.first_ns
        found = (self._processes.maybe_at(key, first[key]) for key in ordered)
        return tuple(process for process in found if process is not None)

    def _process_of(self, side: Side) -> Process | None:
        end = self._by_side.get(side)
        return next(iter(self._speakers(end)), None) if end is not None else None

    def _reasons(self, end: End) -> tuple[Reason, ...]:
        found = list(end.account.reasons)
        for direction in Direction:
            ways = end.account.ways[end.way(direction)]
            found += [replace(reason, direction=direction) for reason in ways.reasons]
        return tuple(found)

    def _view(self, end: End) -> EndpointView:
        return EndpointView(
            side=end.side,
            process=self._process_of(end.side),
            verdict=end.account.verdict if end.row or end.ssl else Verdict.OPAQUE,
            reasons=self._reasons(end),
            tls=self._tls(end),
        )

    def _tls(self, end: End) -> TlsFacts | None:
        row = end.row
        objects = row.objects if row is not None else [end.ssl] if end.ssl is not None else []
        if not objects and not (row is not None and row.tls):
            return None
        first = min(objects, key=lambda o: (o.first_ns, o.key)) if objects else None
        facts = row.hellos.facts if row is not None and row.hellos is not None else None
        return TlsFacts(
            library=self._libraries.get(first.library) if first is not None else None,
            joined_by=first.joined_by if first is not None else "",
            version=facts.version if facts else None,
            cipher=facts.cipher if facts else None,
            alpn=facts.alpn if facts else None,
            server_name=facts.server_name if facts else None,
        )
