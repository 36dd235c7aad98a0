"""The second pass: traffic in order of time, bytes in order of offset, gaps where they are.

Rule 1: the plan knows every hole beforehand, so that a byte is waited for only if it will come.
Rule 2: times never decrease: a segment that waited for bytes before it has their time, for
nobody could have read on without them.
Rule 3: what waits is bounded; past the bound the wait ends with a gap.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from qtapture.events import (
    Closed,
    Connection,
    Direction,
    Loss,
    Opened,
    ProcessExited,
    ProcessStarted,
    ReasonCode,
    Traffic,
)
from qtapture.reassembly.lanes import Piece, StreamLane
from qtapture.reassembly.merge import Item, Merge
from qtapture.reassembly.plan import Plan, Route, SourceKey
from qtapture.reassembly.samples import (
    Exec,
    Exit,
    Fork,
    Head,
    Missing,
    SockData,
    TlsData,
    decode,
)
from qtapture.reassembly.sockets import MISSING_REASONS
from qtapture.source import EventRecord, Source

__all__ = ["iter_traffic"]


def iter_traffic(source: Source, plan: Plan) -> Iterator[Traffic]:
    """Everything that happened, by a plan that `survey` made of the same source."""
    return _Stream(plan).iter_all(source)


# At one moment what opens comes first, what closes last.
_OPEN, _LOSE, _CLOSE = range(3)


@dataclass(slots=True)
class _Stream:
    """The state of the second pass."""

    plan: Plan
    lanes: dict[tuple[int, Direction], StreamLane] = field(default_factory=dict)
    now_ns: int = 0
    # What the tables know the time of: time, rank, number, thing.
    due: list[tuple[int, int, int, Connection | Loss]] = field(default_factory=list)

    def iter_all(self, source: Source) -> Iterator[Traffic]:
        """Merge samples with openings, closings and losses by time."""
        self.due = [(c.first_ns, _OPEN, c.number, c) for c in self.plan.tables.connections]
        losses = enumerate(self.plan.losses.losses)
        self.due += [(loss.time_ns, _LOSE, at, loss) for at, loss in losses]
        heapq.heapify(self.due)
        for item in Merge(self.plan.late).iter_items(source.iter_records()):
            if isinstance(item.what, EventRecord):
                continue
            self.now_ns = max(self.now_ns, item.time_ns)
            while self.due and self.due[0][:2] < (self.now_ns, _CLOSE):
                yield from self._next_due()
            yield from self._sample(item)
        while self.due:
            yield from self._next_due()

    def _next_due(self) -> Iterator[Traffic]:
        time_ns, rank, number, thing = heapq.heappop(self.due)
        if isinstance(thing, Loss):
            yield thing
        elif rank == _OPEN:
            yield Opened(connection=thing, time_ns=time_ns)
            heapq.heappush(self.due, (self._end(thing), _CLOSE, number, thing))
        else:
            yield from self._close(thing)

    def _end(self, connection: Connection) -> int:
        """When nothing more of it follows: what a library had read may be asked for later."""
        return max(connection.last_ns, connection.closed_ns or self.plan.tables.end_ns)

    def _close(self, connection: Connection) -> Iterator[Traffic]:
        end = self._end(connection)
        for direction in Direction:
            lane = self._lane(connection, direction)
            lane.time_ns = max(lane.time_ns, end)
            yield from lane.finish()
            del self.lanes[connection.number, direction]
        yield Closed(connection=connection, time_ns=end)

    def _lane(self, connection: Connection, direction: Direction) -> StreamLane:
        key = (connection.number, direction)
        lane = self.lanes.get(key)
        if lane is None:
            holes = self.plan.holes.get(connection.number)
            found = holes[direction] if holes else ()
            lane = self.lanes[key] = StreamLane(connection, direction, found)
        return lane

    # -------------------------------------------------------------- samples

    def _sample(self, item: Item) -> Iterator[Traffic]:
        sample = decode(item.what) if isinstance(item.what, bytes) else None
        match sample:
            case SockData():
                route = self.plan.routes.get((sample.sock.sk, sample.sock.birth_ns))
                if route is not None:
                    yield from self._payload(item, sample, route)
            case TlsData():
                route = self.plan.routes.get(self._tls_key(sample))
                if route is not None:
                    yield from self._payload(item, sample, route)
            case Exec():
                yield from self._started(sample.head, _key(sample.head), "exec")
            case Fork():
                child = (sample.child_pid, sample.child_start_ticks)
                yield from self._started(sample.head, child, "fork")
            case Exit():
                yield from self._exited(sample.head)
            case _:
                pass

    def _tls_key(self, sample: TlsData) -> SourceKey:
        ssl = (sample.head.pid, sample.ssl, sample.ssl_birth_ns)
        if sample.sock.sk:
            return ssl, (sample.sock.sk, sample.sock.birth_ns)
        return self.plan.unknown_sockets.get(ssl, (ssl, None))

    def _payload(self, item: Item, sample: SockData | TlsData, route: Route) -> Iterator[Traffic]:
        way = sample.direction & 1
        start, end = sample.offset, sample.offset + sample.piece_len
        data = sample.data
        if route.limits is not None:
            end = min(end, route.limits[way])
            data = data[: max(end - start, 0)]
        if end <= start or self._end(route.connection) < self.now_ns:
            return  # the latter: a straggler too many to be kept came after the end
        head = sample.head
        shift = route.shifts[way]
        lane = self._lane(route.connection, route.directions[way])
        lane.time_ns = max(lane.time_ns, self.now_ns)
        piece = Piece(
            start=start + shift,
            end=end + shift,
            data=data,
            missing=_reason(sample.missing, route),
            number=item.number,
            tid=head.tid,
            process=self.plan.processes.maybe_at(_key(head), head.time_ns),
            plaintext=route.plaintext,
        )
        yield from lane.take(piece)

    def _started(self, head: Head, key: tuple[int, int], action: str) -> Iterator[Traffic]:
        process = self.plan.processes.maybe_at(key, head.time_ns)
        if process is not None:
            yield ProcessStarted(process=process, time_ns=self.now_ns, action=action)

    def _exited(self, head: Head) -> Iterator[Traffic]:
        process = self.plan.processes.maybe_last(_key(head))
        if process is not None:
            yield ProcessExited(process=process, time_ns=self.now_ns)


def _key(head: Head) -> tuple[int, int]:
    return head.pid, head.start_ticks


def _reason(missing: int, route: Route) -> ReasonCode:
    if missing == Missing.HEAD:
        return route.head_reason
    return MISSING_REASONS.get(missing, ReasonCode.UNREADABLE_BUFFER)
