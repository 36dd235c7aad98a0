"""From the survey's books to the plan: connections, each shown once, numbered, with verdicts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from qtapture.events import Library, Reason, ReasonCode, Side, Tables
from qtapture.reassembly.account import Account, Context, account_object, account_socket, worse
from qtapture.reassembly.connections import End, Entry, build
from qtapture.reassembly.facts import number, text
from qtapture.reassembly.losses import LossBook
from qtapture.reassembly.merge import Late
from qtapture.reassembly.pairing import conclude_sides, pair_ends
from qtapture.reassembly.plan import Counts, Plan, SourceKey
from qtapture.reassembly.processes import ProcessBook, ProcessKey
from qtapture.reassembly.rows import SocketRow, SslKey, SslRow
from qtapture.reassembly.sockets import SocketBook
from qtapture.timebase import Anchor

__all__ = ["Books", "SideChoice", "assemble"]


# Header facts that every export may state.
_TICK_NS = 10_000_000
_FACTS = ("uuid", "host", "machine", "kernel", "boot_id", "tool")


class SideChoice(StrEnum):
    """Which end a connection is shown from where both are on this host."""

    BEST = "best"  # the better verdict, the client's on a tie
    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"


@dataclass(slots=True, kw_only=True)
class Books:
    """All that the first pass collects."""

    processes: ProcessBook
    sockets: SocketBook
    losses: LossBook
    counts: Counts
    libraries: dict[int, Library] = field(default_factory=dict)
    port_scope: bool = False  # connections were asked for by port
    mapped: dict[ProcessKey, list[tuple[int, int, bool]]] = field(default_factory=dict)
    anchors: list[Anchor] = field(default_factory=list)
    notes: list[tuple[int, dict[str, object]]] = field(default_factory=list)
    start_ns: int = 0
    end_ns: int = 0

    def see(self, time_ns: int) -> None:
        """Something happened at this time: the session reaches there."""
        self.start_ns = min(self.start_ns or time_ns, time_ns)
        self.end_ns = max(self.end_ns, time_ns)


def _find_short_lives(books: Books) -> None:
    """Mappings of processes that had ended when the attacher looked: by number and time."""
    nameless = {key: rows for key, rows in books.mapped.items() if not key[1]}
    starts: dict[int, list[int]] = {}
    for process in books.processes:
        starts.setdefault(process.pid, []).append(process.start_ticks)
    for key, rows in nameless.items():
        del books.mapped[key]
        for row in rows:
            before = [at for at in starts.get(key[0], ()) if at * _TICK_NS <= row[0]]
            if before:
                books.mapped.setdefault((key[0], max(before)), []).append(row)


def _name_libraries(books: Books) -> None:
    """Kernels before 5.15 do not say whose probe it was: a process with one library used that."""
    for row in books.sockets.objects.values():
        if row.library:
            continue
        mapped = {
            library
            for key in row.speakers.first
            for _, library, _ in books.mapped.get(key, ())
            if library in books.libraries and books.libraries[library].hooked
        }
        if len(mapped) == 1:
            row.library = mapped.pop()


def assemble(books: Books, header: Mapping[str, Any], late: Late, side: SideChoice) -> Plan:
    """Pair, judge, number and route everything that the survey saw."""
    anchor = _maybe_anchor(header)
    if anchor is not None:
        books.anchors.insert(0, anchor)
        books.see(anchor.boottime_ns)
    books.sockets.add_idle()
    _find_short_lives(books)
    _name_libraries(books)
    books.port_scope = _has_port_scope(header)
    entries = sorted(_iter_entries(books, side), key=lambda entry: entry.order)
    connections, routes, holes = build(entries, books.processes, books.libraries)
    tables = Tables(
        connections=tuple(connections),
        processes=tuple(books.processes),
        libraries=tuple(books.libraries[key] for key in sorted(books.libraries)),
        losses=tuple(books.losses.losses),
        facts=_facts(header),
        start_ns=books.start_ns,
        end_ns=books.end_ns,
    )
    return Plan(
        tables=tables,
        processes=books.processes,
        losses=books.losses,
        late=late,
        routes=routes,
        holes=holes,
        counts=books.counts,
        anchors=books.anchors,
        unknown_sockets=_first_sockets(books.sockets),
        notes=books.notes,
    )


def _maybe_anchor(header: Mapping[str, Any]) -> Anchor | None:
    found = header.get("anchor")
    if not isinstance(found, dict) or not number(found, "boottime_ns"):
        return None
    return Anchor(
        boottime_ns=number(found, "boottime_ns"),
        monotonic_ns=number(found, "monotonic_ns"),
        realtime_ns=number(found, "realtime_ns"),
    )


def _has_port_scope(header: Mapping[str, Any]) -> bool:
    scope = header.get("scope")
    return isinstance(scope, dict) and bool(scope.get("ports"))


def _first_sockets(book: SocketBook) -> dict[SslKey, SourceKey]:
    """Where an SSL object's bytes go that it said before its socket was known."""
    found: dict[SslKey, SourceKey] = {}
    for key in book.objects:
        found.setdefault(key[0], key)
    return found


def _facts(header: Mapping[str, Any]) -> dict[str, str]:
    found = {name: text(header, name) for name in _FACTS}
    argv = header.get("argv")
    if isinstance(argv, list):
        found["argv"] = " ".join(str(word) for word in argv)
    return {name: value for name, value in found.items() if value}


# ------------------------------------------------------------------ which connections there are


def _iter_entries(books: Books, side: SideChoice) -> Iterator[Entry]:
    unjoined = list(_attach_objects(books.sockets))
    rows = [row for row in books.sockets.sockets.values() if _is_connection(row)]
    conclude_sides(rows, books.sockets.listeners)
    mates = pair_ends(rows)
    suspects = _Suspects(books, unjoined)
    ends = {id(row): End(row=row, account=suspects.account(row)) for row in rows}
    for row in rows:
        mate = mates.get(id(row))
        if mate is None:
            yield Entry(shown=ends[id(row)])
        elif side is SideChoice.BOTH:
            yield Entry(shown=ends[id(row)], other=ends[id(mate)])
        elif _is_first(row, mate):
            yield _shown_once(ends[id(row)], ends[id(mate)], side)
    servers = {key for row in rows if row.side is Side.SERVER for key in row.speakers.first}
    clients = {key for row in rows if row.side is Side.CLIENT for key in row.speakers.first}
    if books.port_scope:
        # Asked for by port: what has none was not asked for.
        books.counts.left_out = len(unjoined)
        return
    for ssl in unjoined:
        speakers = set(ssl.speakers.first)
        whole = all(_is_new(books, key) for key in speakers)
        account = account_object(
            ssl, Context(losses=books.losses, end_ns=books.end_ns), whole=whole
        )
        # A process that is only ever a server speaks as one here too.
        serves = bool(speakers & servers) and not speakers & clients
        end = End(ssl=ssl, account=account, side=Side.SERVER if serves else Side.CLIENT)
        yield Entry(shown=end)


def _is_first(row: SocketRow, mate: SocketRow) -> bool:
    """Of two ends one stands for both: any fixed rule will do."""
    return (row.first_ns, row.key) < (mate.first_ns, mate.key)


def _is_new(books: Books, key: ProcessKey) -> bool:
    process = books.processes.maybe_last(key)
    return process is not None and process.origin in ("exec", "fork")


def _is_connection(row: SocketRow) -> bool:
    # Without addresses (their sample was lost) bytes are still evidence.
    return not row.listener and (row.placed or row.spoke)


def _attach_objects(book: SocketBook) -> Iterator[SslRow]:
    """Give SSL objects to their sockets; those without one that spoke are handed back."""
    for ssl in book.objects.values():
        row = book.sockets.get(ssl.socket) if ssl.socket is not None else None
        if row is not None and _is_connection(row):
            row.objects.append(ssl)
            row.last_ns = max(row.last_ns, ssl.last_ns)
        elif ssl.spoke:
            yield ssl


def _shown_once(row: End, mate: End, side: SideChoice) -> Entry:
    client, server = (row, mate) if _is_client(row, mate) else (mate, row)
    # One side was perhaps only concluded from ports; both must not be the same.
    client.side, server.side = Side.CLIENT, Side.SERVER
    if side is SideChoice.CLIENT:
        return Entry(shown=client, other=server)
    if side is SideChoice.SERVER:
        return Entry(shown=server, other=client)
    mine, theirs = client.account.verdict, server.account.verdict
    better = mine == theirs or worse(mine, theirs) == theirs
    return Entry(shown=client, other=server) if better else Entry(shown=server, other=client)


def _is_client(row: End, mate: End) -> bool:
    first, second = row.row, mate.row
    if first is None or second is None or first.guessed == second.guessed:
        return row.side is Side.CLIENT
    return (row.side is Side.CLIENT) if not first.guessed else (mate.side is Side.SERVER)


# ------------------------------------------------------------------ why records were not opened


class _Suspects:
    """Judges sockets; for TLS that nothing opened it finds the likeliest reason."""

    def __init__(self, books: Books, unjoined: list[SslRow]) -> None:
        self._books = books
        self._open = Context(losses=books.losses, end_ns=books.end_ns)
        self._unjoined = {key for ssl in unjoined for key in ssl.speakers.first}

    def account(self, row: SocketRow) -> Account:
        """The account of one end."""
        if not row.tls or row.objects:
            return account_socket(row, self._open)
        context = Context(
            losses=self._books.losses, end_ns=self._books.end_ns, opaque=self._reason(row)
        )
        return account_socket(row, context)

    def _reason(self, row: SocketRow) -> Reason:
        keys = row.speakers.in_order() or [row.owner]
        mapped = [entry for key in keys for entry in self._books.mapped.get(key, ())]
        libraries = self._books.libraries
        for _, library, _ in mapped:
            found = libraries.get(library)
            if found is not None and not found.hooked:
                return Reason(
                    code=ReasonCode.NO_PROBE, detail=f"{found.path} {found.detail}".strip()
                )
        began = row.established_ns or row.first_ns
        if any(late and time_ns >= began for time_ns, _, late in mapped):
            return Reason(code=ReasonCode.FOUND_LATE)
        if self._unjoined.intersection(keys):
            return Reason(code=ReasonCode.UNJOINED)
        return Reason(code=ReasonCode.NO_PROBE)
