"""What the survey hands to the second pass: the tables, and where every sample's bytes go."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from qtapture.events import Connection, Direction, ReasonCode, Tables
from qtapture.reassembly.coverage import Stretch
from qtapture.reassembly.losses import LossBook
from qtapture.reassembly.merge import Late
from qtapture.reassembly.processes import ProcessBook
from qtapture.reassembly.rows import SocketKey, SslKey
from qtapture.timebase import Anchor

__all__ = ["Counts", "Holes", "Plan", "Route", "SourceKey"]

# A socket, or an SSL object over one socket.
SourceKey = SocketKey | tuple[SslKey, SocketKey | None]
Holes = tuple[Sequence[Stretch], Sequence[Stretch]]  # by Direction, in stream offsets


@dataclass(frozen=True, slots=True)
class Route:
    """Where the bytes of one source go. Pairs are by direction as the end sees it."""

    connection: Connection
    directions: tuple[Direction, Direction]
    shifts: tuple[int, int]
    limits: tuple[int, int] | None
    plaintext: bool
    head_reason: ReasonCode  # why bytes are missing where only heads were taken


@dataclass(slots=True, kw_only=True)
class Counts:
    """What the first pass counted."""

    samples: int = 0
    malformed: int = 0
    stragglers: int = 0
    lost_marks: int = 0
    unknown: int = 0  # well-formed records of types we do not know
    left_out: int = 0  # SSL objects that never joined, under a scope of ports
    by_kind: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Plan:
    """The result of `survey`, and all that `iter_traffic` needs beside the source."""

    tables: Tables
    processes: ProcessBook
    losses: LossBook
    late: Late
    routes: dict[SourceKey, Route]
    holes: dict[int, Holes]  # by connection number, where there are any
    counts: Counts
    anchors: list[Anchor]
    unknown_sockets: dict[SslKey, SourceKey]  # SSL objects, for samples before their join
    notes: list[tuple[int, dict[str, object]]]  # time, body: NOTE and END events
