"""Lanes: tracks of a connection in which no slice overlaps another."""

from qtapture.events import Connection
from qtapture.export.trace_events import EventWriter, Place

__all__ = ["Lanes"]

# Above every thread id that Linux gives (PID_MAX_LIMIT is 2^22), below 2^31: viewers take a tid for
# the same thread wherever it appears.
FIRST_LANE = 10_000_000


class Lanes:
    """Gives each slice the first lane of its connection and process that is free by then.

    A connection has as many lanes as exchanges are open at a time, which the parsers of protocols
    limit.
    """

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer
        self._busy: dict[int, dict[int, list[tuple[int, int]]]] = {}  # number, pid: (end, tid)
        self._next = FIRST_LANE

    def take(self, connection: Connection, pid: int, begin_ns: int, end_ns: int) -> Place:
        """A lane that is free from ``begin_ns``, taken until ``end_ns``."""
        lanes = self._busy.setdefault(connection.number, {}).setdefault(pid, [])
        for at, (busy_until, tid) in enumerate(lanes):
            if busy_until <= begin_ns:
                lanes[at] = (end_ns, tid)
                return pid, tid
        tid = self._next
        self._next += 1
        lanes.append((end_ns, tid))
        name = f"conn {connection.number} {_place(connection)} #{len(lanes)}"
        self._writer.name((pid, tid), "thread_name", name)
        return pid, tid

    def first(self, connection: Connection, pid: int) -> Place:
        """The connection's first lane, for what takes no time."""
        lanes = self._busy.get(connection.number, {}).get(pid)
        return (pid, lanes[0][1]) if lanes else self.take(connection, pid, 0, 0)

    def drop(self, connection: Connection) -> None:
        """Nothing more of this connection follows."""
        self._busy.pop(connection.number, None)


def _place(connection: Connection) -> str:
    """The server by name where the client said one."""
    address = connection.network.rpartition(" -> ")[2]
    if connection.tls is None or not connection.tls.server_name or connection.server is None:
        return address
    return f"{connection.tls.server_name}:{connection.server.port}"
