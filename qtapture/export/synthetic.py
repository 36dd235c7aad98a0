"""One observed connection told as TCP: handshake, sequence numbers, holes, ACKs and FINs.

Rule 1: an observed byte has the sequence number of its offset; missing bytes are holes.
Rule 2: after a gap of unknown length a direction goes on in a further TCP connection, a
continuation, which the other direction joins when it has such a gap too.
Rule 3: what nobody saw (headers, handshake, ACK, FIN) is synthesised and marked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from qtapture.events import Direction
from qtapture.export.packets import ACK, FIN, PSH, RST, SYN, SYN_OPTIONS, TcpHeader
from qtapture.export.ports import Shown

__all__ = ["Packet", "SyntheticConnection"]

_MASK = 0xFFFFFFFF
# One piece of a recorded call; far under IPv4's 65,535.
LARGEST_PAYLOAD = 16_384
# Half the sequence space (RFC 9293 3.4): a larger hole would read as a step backwards.
LARGEST_HOLE = 1 << 31
# A receiver's ACK after so many segments: readers keep a list of what is not acknowledged,
# and the window, though the largest, ends at 1 GiB.
_ACK_EVERY = 32
# Continuations of one connection; each takes a client port of the 64,000 there are.
_MOST_CONTINUATIONS = 1_000
# Shown for a gap of unknown length when those are used up: a hole at least, and commented.
NOMINAL_HOLE = 65_536
# Knuth's multiplicative hash: numbers far apart, the same in every run.
_SPREAD = 2_654_435_761
# HTTP/2's client preface (RFC 9113 3.4) has a packet of its own: tshark 4.0 loses every later
# request when it shares one with a part of a HEADERS frame.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A frame and how it came about."""

    data: bytes
    direction: Direction
    comment: str = ""
    observed: bool = False  # carries observed bytes; else synthesised altogether


@dataclass(slots=True)
class _Half:
    """One direction of one TCP connection: ``base`` is the offset of its first byte."""

    header: TcpHeader
    isn: int
    base: int | None
    next_offset: int = 0
    unacknowledged: int = 0
    finished: int = 0  # 1 when the FIN is out, which takes a sequence number

    @property
    def next_seq(self) -> int:
        if self.base is None:
            return self.isn + 1 + self.finished & _MASK
        return self.seq(self.next_offset) + self.finished & _MASK

    def seq(self, offset: int) -> int:
        return self.isn + 1 + offset - (self.base or 0) & _MASK


@dataclass(slots=True)
class _Tcp:
    """One TCP connection of the file."""

    halves: tuple[_Half, _Half]
    fresh: bool = True  # no packet of it is out

    def packet(
        self, direction: Direction, tcp_flags: int, payload: bytes = b"", offset: int | None = None
    ) -> bytes:
        half, other = self.halves[direction], self.halves[1 - direction]
        seq = half.next_seq if offset is None else half.seq(offset)
        self.fresh = False
        other.unacknowledged = 0
        return half.header.packet(seq, other.next_seq, tcp_flags, payload)


@dataclass(slots=True)
class SyntheticConnection:
    """State of one connection while it lasts; ``place`` gives continuations their ends."""

    number: int
    shown: Shown
    place: Callable[[Shown], Shown]
    older: bool = False  # it was open before: its first byte has whatever offset it has
    _tcps: dict[int, _Tcp] = field(default_factory=dict)
    _places: dict[int, Shown] = field(default_factory=dict)
    _at: list[int] = field(default_factory=lambda: [0, 0])  # continuation of each direction
    _notes: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))

    def __post_init__(self) -> None:
        self._begin(0, self.shown, None if self.older else 0)

    def _begin(self, continuation: int, shown: Shown, base: int | None) -> None:
        seed = self.number + (continuation << 20)
        ends = (shown.client, shown.server)
        halves = tuple(
            _Half(
                header=TcpHeader(ends[way], ends[1 - way]),
                isn=(2 * seed + way) * _SPREAD & _MASK,
                base=base,
            )
            for way in Direction
        )
        self._tcps[continuation] = _Tcp(halves=(halves[0], halves[1]))
        self._places[continuation] = shown

    def place_of(self, direction: Direction) -> tuple[int, Shown]:
        """Which continuation a direction is in (0 for none), and its ends."""
        at = self._at[direction]
        return at, self._places[at]

    def handshake(self, comment: str) -> Iterator[Packet]:
        """SYN, SYN-ACK and ACK."""
        yield self._syn(comment)
        client, server = self._tcps[0].halves
        answer = server.header.packet(server.isn, client.next_seq, SYN | ACK, options=SYN_OPTIONS)
        yield Packet(data=answer, direction=Direction.S2C)
        yield self._bare(self._tcps[0], Direction.C2S, ACK)

    def attempt(self, comment: str, *, refused: bool) -> Iterator[Packet]:
        """A SYN, and the RST that refused it."""
        yield self._syn(comment)
        if refused:
            client, server = self._tcps[0].halves
            reset = server.header.packet(0, client.next_seq, RST | ACK)
            yield Packet(data=reset, direction=Direction.S2C)

    def _syn(self, comment: str) -> Packet:
        half = self._tcps[0].halves[Direction.C2S]
        self._tcps[0].fresh = False
        data = half.header.packet(half.isn, 0, SYN, options=SYN_OPTIONS)
        return Packet(data=data, direction=Direction.C2S, comment=comment)

    def is_fresh(self, direction: Direction) -> bool:
        """Whether the TCP connection where this direction is has no packet yet."""
        return self._tcps[self._at[direction]].fresh

    def data(
        self, direction: Direction, offset: int, payload: bytes, comment: str
    ) -> Iterator[Packet]:
        """Observed bytes, and the receiver's ACK where one is due."""
        tcp = self._tcps[self._at[direction]]
        half = tcp.halves[direction]
        if half.base is None:
            half.base = half.next_offset = offset
        notes = [comment, *self._taken_notes(direction)]
        text = "; ".join(filter(None, notes))
        for piece in _pieces(direction, payload):
            frame = tcp.packet(direction, PSH | ACK, piece, offset)
            yield Packet(data=frame, direction=direction, comment=text, observed=True)
            offset += len(piece)
            half.next_offset = max(half.next_offset, offset)
            text = ""
        half.unacknowledged += 1
        if half.unacknowledged >= _ACK_EVERY:
            yield self._bare(tcp, Direction(1 - direction), ACK)

    def gap(self, direction: Direction, offset: int, length: int | None, note: str) -> None:
        """Bytes that are missing; said on the next packet of this direction."""
        self._notes[direction].append(note)
        half = self._tcps[self._at[direction]].halves[direction]
        if length is None or length >= LARGEST_HOLE:
            # Before its first byte an older connection needs no other: no number is promised yet.
            if half.base is not None:
                self._continue(direction, half, offset + (length or 0))
        elif half.base is not None:
            half.next_offset = max(half.next_offset, offset + length)

    def _continue(self, direction: Direction, half: _Half, offset: int) -> None:
        # Where the other direction is already, if it is further on: pairs stay together.
        following = max(self._at[direction] + 1, self._at[1 - direction])
        if following > _MOST_CONTINUATIONS:
            # Moving the base back by the hole moves all later numbers on by it.
            half.base = (half.base or 0) - NOMINAL_HOLE
            half.next_offset = offset
            return
        if following not in self._tcps:
            self._begin(following, self.place(self.shown), None)
        self._at[direction] = following
        for at in [at for at in self._tcps if at not in self._at]:
            # Both directions have left it: nothing can be said of it any more.
            del self._tcps[at], self._places[at]

    def _taken_notes(self, direction: Direction) -> list[str]:
        notes = self._notes[direction]
        taken = notes.copy()
        notes.clear()
        return taken

    def fins(self) -> Iterator[Packet]:
        """Both FINs and the last ACK, in the TCP connection where both directions are."""
        if self._at[0] != self._at[1]:
            # Each direction ends where it is; nothing there answers.
            for direction in Direction:
                yield self._fin(self._tcps[self._at[direction]], direction)
            return
        tcp = self._tcps[self._at[0]]
        yield self._fin(tcp, Direction.C2S)
        yield self._fin(tcp, Direction.S2C)
        yield self._bare(tcp, Direction.C2S, ACK)

    def _fin(self, tcp: _Tcp, direction: Direction) -> Packet:
        data = tcp.packet(direction, FIN | ACK)
        tcp.halves[direction].finished = 1
        return Packet(
            data=data, direction=direction, comment="; ".join(self._taken_notes(direction))
        )

    def _bare(self, tcp: _Tcp, direction: Direction, tcp_flags: int) -> Packet:
        return Packet(data=tcp.packet(direction, tcp_flags), direction=direction)


def _pieces(direction: Direction, payload: bytes) -> Iterator[bytes]:
    """The payload as packets carry it: the HTTP/2 preface alone, nothing above 16 KiB."""
    start = 0
    if direction is Direction.C2S and len(payload) > len(_PREFACE) and payload.startswith(_PREFACE):
        yield _PREFACE
        start = len(_PREFACE)
    for at in range(start, len(payload), LARGEST_PAYLOAD):
        yield payload[at : at + LARGEST_PAYLOAD]
