"""Which sockets are the two ends of one connection, and which end connected.

Rule 1: ends mirror each other's addresses and ports, and live at the same time.
Rule 2: the same network namespace decides; else the mirror must be the only one alive.
"""

from bisect import bisect_right
from collections.abc import Iterable

from qtapture.events import Side
from qtapture.reassembly.rows import SocketRow

__all__ = ["conclude_sides", "pair_ends"]

_Place = tuple[bytes, int]
# Sockets looked at around one moment. A tuple is taken by one socket at a time in a namespace, so
# that more are copies of namespaces with equal addresses.
_MOST_CANDIDATES = 64


def conclude_sides(rows: Iterable[SocketRow], listeners: set[tuple[int, int]]) -> None:
    """Give a side to sockets whose beginning was not seen."""
    for row in rows:
        if row.side is not None:
            continue
        row.guessed = True
        if (row.netns, row.local_port) in listeners:
            row.side = Side.SERVER
        elif (row.netns, row.peer_port) in listeners:
            row.side = Side.CLIENT
        else:
            # Ports of clients are ephemeral, hence high, wherever nobody chose them.
            row.side = Side.SERVER if row.local_port < row.peer_port else Side.CLIENT


def pair_ends(rows: Iterable[SocketRow]) -> dict[int, SocketRow]:
    """The other end of each socket that has one here, by ``id`` of the row."""
    waiting: dict[tuple[_Place, _Place], list[SocketRow]] = {}
    for row in rows:
        if row.local_port and row.peer_port:
            waiting.setdefault(_ends(row), []).append(row)
    found: dict[int, SocketRow] = {}
    for (local, peer), here in waiting.items():
        there = waiting.get((peer, local))
        if there is not None and local <= peer:
            _pair(here, there, found)
    return found


def _ends(row: SocketRow) -> tuple[_Place, _Place]:
    return (row.local, row.local_port), (row.peer, row.peer_port)


def _pair(here: list[SocketRow], there: list[SocketRow], found: dict[int, SocketRow]) -> None:
    here = sorted(here, key=lambda row: (row.first_ns, row.key))
    there = sorted(there, key=lambda row: (row.first_ns, row.key))
    starts = [row.first_ns for row in there]
    own_starts = [row.first_ns for row in here]
    for same_namespace in (True, False):
        for row in here:
            if id(row) in found:
                continue
            other = _only(row, _alive(row, there, starts), found, same=same_namespace)
            if other is None:
                continue
            # The mirror's own view must be as clear.
            if _only(other, _alive(other, here, own_starts), found, same=same_namespace) is row:
                found[id(row)] = other
                found[id(other)] = row


def _alive(row: SocketRow, others: list[SocketRow], starts: list[int]) -> list[SocketRow]:
    """Those whose lives meet the row's, nearest beginnings first."""
    first, last = row.lifetime
    at = bisect_right(starts, first)
    near = others[max(at - _MOST_CANDIDATES, 0) : at + _MOST_CANDIDATES]
    alive = [o for o in near if o is not row and o.lifetime[0] <= last and first <= o.lifetime[1]]
    return sorted(alive, key=lambda o: (abs(o.first_ns - first), o.key))


def _only(
    row: SocketRow, alive: list[SocketRow], found: dict[int, SocketRow], *, same: bool
) -> SocketRow | None:
    free = [o for o in alive if id(o) not in found and (o.netns == row.netns) == same]
    if same:
        return free[0] if free else None
    return free[0] if len(free) == 1 else None
