"""What the survey keeps of one socket and one SSL object: facts and counts, never payload."""

from dataclasses import dataclass, field

from qtapture.events import Side
from qtapture.reassembly.coverage import Coverage
from qtapture.reassembly.hello import HelloReader
from qtapture.reassembly.processes import ProcessKey

__all__ = ["RECEIVED", "SENT", "Lane", "SocketKey", "SocketRow", "Speakers", "SslKey", "SslRow"]

# Directions as one end sees them; qt_*_data.direction.
RECEIVED = 0
SENT = 1

SocketKey = tuple[int, int]  # kernel address, birth
SslKey = tuple[int, int, int]  # pid, address of the object, birth

# Processes kept of one connection; a listening socket passed to more workers is unheard of.
_MOST_SPEAKERS = 64


@dataclass(slots=True)
class Speakers:
    """Processes that made payload calls, with the time of the first."""

    first: dict[ProcessKey, int] = field(default_factory=dict)

    def add(self, key: ProcessKey, time_ns: int) -> None:
        """Note a call; tasks that are not known are none."""
        if not key[0]:
            return
        known = self.first.get(key)
        if known is None:
            if len(self.first) < _MOST_SPEAKERS:
                self.first[key] = time_ns
        elif time_ns < known:
            self.first[key] = time_ns

    def in_order(self) -> list[ProcessKey]:
        """Who spoke first comes first."""
        return sorted(self.first, key=lambda key: (self.first[key], key))


@dataclass(slots=True)
class Lane:
    """One direction of a socket or SSL object, in its own offsets."""

    coverage: Coverage = field(default_factory=Coverage)
    origin: int = 0  # where it begins: an SSL object may have spoken over another socket before
    records_from: int | None = None  # where TLS records begin on a socket
    plain_end: int = 0  # one past the last byte that is not a TLS record
    first_protected_ns: int | None = None  # the first application data record
    last_ns: int = 0


@dataclass(slots=True, kw_only=True)
class SslRow:
    """What one SSL object said over one socket (or over none that is known)."""

    key: SslKey
    socket: SocketKey | None
    joined_ns: int | None = None
    joined_by: str = ""
    library: int = 0
    first_ns: int = 0
    last_ns: int = 0
    freed: tuple[int, int] | None = None  # totals that its calls returned
    speakers: Speakers = field(default_factory=Speakers)
    lanes: tuple[Lane, Lane] = field(default_factory=lambda: (Lane(), Lane()))

    def end(self, way: int) -> int:
        """One past the last byte of a direction, by samples and totals."""
        total = self.freed[way] if self.freed else 0
        return max(total, self.lanes[way].coverage.end)

    @property
    def spoke(self) -> bool:
        """Whether any plaintext is known to have passed."""
        return any(self.end(way) > self.lanes[way].origin for way in (RECEIVED, SENT))


@dataclass(slots=True, kw_only=True)
class SocketRow:
    """One end of one connection."""

    key: SocketKey
    first_ns: int
    last_ns: int = 0
    local: bytes = b""
    peer: bytes = b""
    local_port: int = 0
    peer_port: int = 0
    netns: int = 0
    inode: int = 0
    cookie: int = 0
    side: Side | None = None
    guessed: bool = False  # the side was not seen, but concluded from ports
    older: bool = False
    listener: bool = False
    tls: bool = False
    connect_ns: int | None = None
    established_ns: int | None = None
    closed_ns: int | None = None
    error: int = 0
    final: tuple[int, int] | None = None  # the kernel's counts at the end, without FIN
    finished: bool = False  # the peer's FIN was received, which the kernel counts as a byte
    nothing_before: list[bool] = field(default_factory=lambda: [False, False])
    first_received: int = 1 << 64  # the kernel's count at our first sight
    seen: list[int] = field(default_factory=lambda: [0, 0])
    owner: ProcessKey = (0, 0)
    speakers: Speakers = field(default_factory=Speakers)
    lanes: tuple[Lane, Lane] = field(default_factory=lambda: (Lane(), Lane()))
    hellos: HelloReader | None = None
    objects: list[SslRow] = field(default_factory=list)

    @property
    def placed(self) -> bool:
        """Whether both addresses are known."""
        return bool(self.local and self.peer and self.peer_port)

    @property
    def spoke(self) -> bool:
        """Whether any payload call was seen."""
        return any(lane.coverage.ends for lane in self.lanes)

    @property
    def lifetime(self) -> tuple[int, int]:
        """From when to when it was alive; without an end, for ever."""
        return self.first_ns, self.closed_ns if self.closed_ns is not None else 1 << 64
