"""One end of one connection: where its streams come from, what is missing, and why.

Rule 1: plaintext of SSL objects is the stream where there is any; what was said before them in
the clear comes first, and offsets go on.
Rule 2: holes are exact where offsets or totals say so; else they have no end.
Rule 3: `complete` is never a guess: where nothing can tell, the losses of that time decide.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from qtapture.events import Reason, ReasonCode, Verdict
from qtapture.reassembly.coverage import MOST_STRETCHES, Coverage, Stretch
from qtapture.reassembly.losses import LossBook
from qtapture.reassembly.rows import RECEIVED, SENT, Lane, SocketRow, SslRow
from qtapture.reassembly.samples import Kind

__all__ = ["Account", "Context", "Part", "WayAccount", "account_object", "account_socket", "worse"]

# A socket that moved more than this under TLS, with no plaintext at all, did not only shake hands
# (certificates of 2^14 bytes and more are refused by most): kTLS sendfile, or a hook that missed.
_MOST_HANDSHAKE = 64 << 10
_RANK = {Verdict.COMPLETE: 0, Verdict.PARTIAL: 1, Verdict.OPAQUE: 2}


def worse(first: Verdict, second: Verdict) -> Verdict:
    """The one that says that less is known."""
    return max(first, second, key=_RANK.__getitem__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known beside the row itself."""

    losses: LossBook
    end_ns: int
    opaque: Reason | None = None  # set where the socket carries records that nothing opened


@dataclass(frozen=True, slots=True)
class Part:
    """A source of bytes: offset in the stream = offset in the source + shift, up to a limit."""

    source: SslRow | None  # None: the socket itself
    shifts: tuple[int, int]
    limits: tuple[int, int] | None = None  # in the source's offsets


@dataclass(slots=True)
class WayAccount:
    """One direction, as the end sees it."""

    verdict: Verdict = Verdict.COMPLETE
    holes: list[Stretch] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)  # without a direction


@dataclass(slots=True)
class Account:
    """One end: its parts in order, and both directions."""

    parts: list[Part]
    ways: tuple[WayAccount, WayAccount] = field(
        default_factory=lambda: (WayAccount(), WayAccount())
    )
    reasons: list[Reason] = field(default_factory=list)
    plaintext: bool = False

    @property
    def verdict(self) -> Verdict:
        """The worse direction."""
        return worse(self.ways[0].verdict, self.ways[1].verdict)


@dataclass(slots=True)
class _Stream:
    """One direction while it is put together."""

    holes: list[Stretch] = field(default_factory=list)
    missing: dict[ReasonCode, list[int]] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)
    position: int = 0

    def append(self, coverage: Coverage, start: int, end: int, tail: ReasonCode) -> int:
        """Take start..end of a source; gives the shift from its offsets to ours.

        ``tail`` is why bytes are missing after the last piece.
        """
        shift = self.position - start
        holes = list(coverage.iter_holes(start, end))
        if holes and holes[-1].start >= coverage.end:
            holes[-1] = replace(holes[-1], reason=tail)
        self.holes.extend(_shifted(holes, shift))
        self.stretches.extend(_shifted(coverage.stretches or (), shift))
        for reason, (count, size) in (coverage.missing or {}).items():
            total = self.missing.setdefault(reason, [0, 0])
            total[0] += count
            total[1] += size
        self.position += end - start
        return shift

    def unknown(self, reason: ReasonCode) -> None:
        """Here something of unknown length is missing."""
        self.holes.append(Stretch(self.position, None, reason))


def _shifted(stretches: Iterable[Stretch], shift: int) -> Iterator[Stretch]:
    for part in stretches:
        end = None if part.end is None else part.end + shift
        yield Stretch(part.start + shift, end, part.reason)


def account_socket(row: SocketRow, context: Context) -> Account:
    """What is known of a connection from the end that ``row`` is."""
    objects = sorted(row.objects, key=lambda o: (o.first_ns, o.key))
    result = Account(parts=[], plaintext=bool(row.objects))
    limits = (_plain_end(row.lanes[RECEIVED]), _plain_end(row.lanes[SENT]))
    shifts: list[list[int]] = [[], []]
    for way in (RECEIVED, SENT):
        stream = _Stream()
        if row.older and not row.nothing_before[way]:
            stream.unknown(ReasonCode.OLDER_THAN_RECORDING)
        if row.objects:
            stream.append(row.lanes[way].coverage, 0, limits[way], ReasonCode.LOST_SAMPLES)
            for ssl in objects:
                shifts[way].append(_append_object(stream, row, ssl, way, context))
            if stream.position == limits[way] and row.seen[way] > limits[way] + _MOST_HANDSHAKE:
                stream.unknown(ReasonCode.NO_PAYLOAD_SEEN)
        else:
            _append_socket(stream, row, way, context)
        result.ways[way].holes = stream.holes
        _judge(result.ways[way], stream)
        if context.opaque is not None and _carried(row, way):
            result.ways[way].verdict = Verdict.OPAQUE
    result.parts = [Part(None, (0, 0), limits if row.objects else None)]
    result.parts += [
        Part(ssl, (received, sent))
        for ssl, received, sent in zip(objects, *shifts, strict=True)
        if row.objects
    ]
    result.reasons = list(_facts(row, context))
    return result


def account_object(ssl: SslRow, context: Context, *, whole: bool) -> Account:
    """An SSL object whose socket is not known; ``whole``: it cannot have spoken before."""
    result = Account(parts=[], plaintext=True)
    shifts = []
    for way in (RECEIVED, SENT):
        stream = _Stream()
        shifts.append(_append_object(stream, None, ssl, way, context))
        result.ways[way].holes = stream.holes
        _judge(result.ways[way], stream)
        if not whole:
            result.ways[way].verdict = worse(result.ways[way].verdict, Verdict.PARTIAL)
    result.parts = [Part(ssl, (shifts[0], shifts[1]))]
    result.reasons = [Reason(code=ReasonCode.UNJOINED)]
    return result


def _plain_end(lane: Lane) -> int:
    if lane.records_from is None:
        return lane.plain_end
    return min(lane.plain_end, lane.records_from)


def _append_object(
    stream: _Stream, row: SocketRow | None, ssl: SslRow, way: int, context: Context
) -> int:
    lane = ssl.lanes[way]
    if row is not None and _was_late(row, ssl):
        stream.unknown(ReasonCode.FOUND_LATE)
    until = row.closed_ns if row is not None and row.closed_ns else context.end_ns
    hit = context.losses.maybe_hit((Kind.TLS,), lane.last_ns or ssl.first_ns, until)
    tail = hit or ReasonCode.LOST_SAMPLES
    shift = stream.append(lane.coverage, lane.origin, ssl.end(way), tail)
    if ssl.freed is None and hit is not None:
        stream.unknown(hit)
    return shift


def _was_late(row: SocketRow, ssl: SslRow) -> bool:
    """Application data passed before the object was joined: its library was hooked late.

    Only what was sent tells: a server may receive 0-RTT data before it says anything.
    """
    protected = row.lanes[SENT].first_protected_ns
    joined = ssl.joined_ns or ssl.first_ns
    return (
        protected is not None
        and protected < joined
        and ssl is min(row.objects, key=lambda o: (o.first_ns, o.key))
    )


def _append_socket(stream: _Stream, row: SocketRow, way: int, context: Context) -> None:
    lane = row.lanes[way]
    # Bytes that calls moved, as the probes counted them; what is past coverage was lost.
    moved = max(lane.coverage.end, row.seen[way])
    until = row.closed_ns or context.end_ns
    kinds = (Kind.SOCKET, Kind.SOCKET_HEADS)
    hit = context.losses.maybe_hit(kinds, lane.last_ns or row.first_ns, until)
    stream.append(lane.coverage, 0, moved, hit or ReasonCode.LOST_SAMPLES)
    if row.final is None:
        if hit is not None:
            stream.unknown(hit)
        return
    older = row.older and not row.nothing_before[way]
    if row.final[way] > moved and not older:
        stream.holes.append(Stretch(moved, row.final[way], ReasonCode.NO_PAYLOAD_SEEN))


def _carried(row: SocketRow, way: int) -> bool:
    return bool(row.lanes[way].coverage.end or row.seen[way] or (row.final and row.final[way]))


def _judge(result: WayAccount, stream: _Stream) -> None:
    """The verdict of what is missing, and its list: the first ones, then a sum."""
    if stream.holes or stream.missing:
        result.verdict = Verdict.PARTIAL
    listed = stream.holes[:MOST_STRETCHES]
    result.reasons = [Reason(code=s.reason, start=s.start, end=s.end) for s in listed]
    result.reasons += [
        Reason(code=s.reason, start=s.start, end=s.end) for s in stream.stretches[:MOST_STRETCHES]
    ]
    sums = {code: list(total) for code, total in stream.missing.items()}
    for part in stream.holes:
        total = sums.setdefault(part.reason, [0, 0])
        total[0] += 1
        total[1] += (part.end or part.start) - part.start
    for reason in result.reasons:
        total = sums[reason.code]
        total[0] -= 1
        total[1] -= (reason.end or reason.start or 0) - (reason.start or 0)
    result.reasons += [
        Reason(code=code, detail=f"{count} more stretches, {size} bytes")
        for code, (count, size) in sorted(sums.items())
        if count > 0
    ]


def _facts(row: SocketRow, context: Context) -> Iterator[Reason]:
    if context.opaque is not None:
        yield context.opaque
    if not row.placed:
        yield Reason(code=ReasonCode.LOST_SAMPLES, detail="its addresses were not seen")
    if row.connect_ns is not None and row.established_ns is None and row.closed_ns is not None:
        yield Reason(code=ReasonCode.ATTEMPT_FAILED)
    if row.closed_ns is None:
        yield Reason(code=ReasonCode.STILL_OPEN)
