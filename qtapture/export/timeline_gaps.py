"""Gaps of each connection summed up: a connection may have any number, and has one row."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from qtapture.events import Connection, Direction, Gap, ReasonCode

__all__ = ["GapBook", "GapTotal"]


@dataclass(slots=True)
class _Sum:
    """Gaps of one direction that have one reason."""

    count: int = 0
    bytes: int = 0
    unknown: int = 0  # gaps of unknown length, which ``bytes`` does not have


@dataclass(slots=True)
class GapTotal:
    """All gaps of one connection."""

    connection: Connection
    first_ns: int
    last_ns: int
    sums: dict[tuple[Direction, ReasonCode], _Sum] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes that are missing where that is known."""
        return sum(each.bytes for each in self.sums.values())

    @property
    def unknown(self) -> int:
        """Gaps of unknown length."""
        return sum(each.unknown for each in self.sums.values())

    @property
    def count(self) -> int:
        """Gaps in all."""
        return sum(each.count for each in self.sums.values())

    def rows(self) -> list[dict[str, Any]]:
        """One object for each direction and reason."""
        keys = sorted(self.sums, key=lambda key: (key[0], key[1].value))
        return [
            {
                "direction": direction.name.lower(),
                "reason": reason.value,
                "gaps": (found := self.sums[direction, reason]).count,
                "bytes": found.bytes,
                "unknown": found.unknown,
            }
            for direction, reason in keys
        ]


class GapBook:
    """Totals of the connections that are open."""

    def __init__(self) -> None:
        self._totals: dict[int, GapTotal] = {}

    def note(self, gap: Gap) -> None:
        """Count one more."""
        number = gap.connection.number
        total = self._totals.get(number)
        if total is None:
            total = GapTotal(gap.connection, gap.time_ns, gap.time_ns)
            self._totals[number] = total
        total.last_ns = max(total.last_ns, gap.time_ns)
        found = total.sums.setdefault((gap.direction, gap.reason), _Sum())
        found.count += 1
        found.bytes += gap.length or 0
        found.unknown += gap.length is None

    def maybe_take(self, number: int) -> GapTotal | None:
        """The total of a connection that ends; None where nothing is missing."""
        return self._totals.pop(number, None)

    def iter_rest(self) -> Iterator[GapTotal]:
        """Totals of connections whose end was not told, in order of number."""
        for number in sorted(self._totals):
            yield self._totals[number]
