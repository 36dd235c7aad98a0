"""Sessions as pcapng: plaintext and socket payload in synthesised TCP, by process.

formats/pcapng-profile.md is the specification. Written in one pass: state is kept for open
connections alone, and the file never waits for anything but its next packet.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qtapture.events import (
    Closed,
    Connection,
    Direction,
    Exchange,
    Gap,
    Loss,
    Opened,
    Process,
    ProcessExited,
    ProcessStarted,
    Segment,
    Side,
    Tables,
    Traffic,
)
from qtapture.export import ExportOptions
from qtapture.export import pcapng_blocks as blocks
from qtapture.export import pcapng_comments as words
from qtapture.export.output import OutputFile
from qtapture.export.ports import PortPlan
from qtapture.export.synthetic import Packet, SyntheticConnection
from qtapture.timebase import Clock

__all__ = ["PcapngExport", "open_export"]

# Wall time that goes back by less is the clock being slewed, and packets keep their order;
# more is a clock that was set, which is shown as it was.
_SLEW_NS = 1_000_000_000
# A peer that answered with RST; other errors are silence, or an ICMP that we did not see.
_REFUSALS = frozenset({"ECONNREFUSED", "ECONNRESET"})
_HANDSHAKE = "SYN, SYN-ACK, ACK, FIN and all headers are synthesised"
_NO_HANDSHAKE = "older than the recording, hence without a handshake; all headers are synthesised"


def open_export(path: Path | None, clock: Clock, options: ExportOptions) -> "PcapngExport":
    """An export to ``path``, None for stdout.

    Raises:
        UsageError: the output exists (without ``force``) or cannot be written.
    """
    return PcapngExport(OutputFile(path, force=options.force), clock)


@dataclass(slots=True)
class _Interface:
    number: int
    packets: int = 0


@dataclass(slots=True)
class _Losses:
    """What the kernel side lost: since the last packet, and in all."""

    pending: int = 0
    lost: int = 0
    skipped: int = 0


class PcapngExport:
    """Writes blocks as traffic comes; see `qtapture.export.Export` for the order of calls."""

    def __init__(self, output: OutputFile, clock: Clock) -> None:
        self._output = output
        self._write = output.stream.write
        self._clock = clock
        self._interfaces: dict[str, _Interface] = {}
        self._open: dict[int, SyntheticConnection] = {}
        self._losses = _Losses()
        self._last_ns = 0  # of the packet before, in wall time

    def begin(self, tables: Tables) -> None:
        """Write the section and an interface for each process that spoke."""
        self._tables = tables
        self._ports = PortPlan(tables.connections)
        self._write(
            blocks.section_header(
                words.section_comments(tables),
                hardware=tables.facts.get("machine", ""),
                system=words.system_text(tables),
                application=tables.facts.get("tool", ""),
            )
        )
        for process, remarks in self._iter_speakers(tables.connections):
            self._describe(process, remarks)
        if not self._interfaces:
            # libpcap opens no file without an interface.
            self._describe(None, ())

    def _iter_speakers(
        self, connections: Iterable[Connection]
    ) -> Iterator[tuple[Process | None, Iterable[str]]]:
        """Processes on the shown side, in order of first sight, with their ports' remarks."""
        found: dict[str, tuple[Process | None, dict[str, None]]] = {}
        for connection in connections:
            remark = _server_remark(connection, self._ports)
            for process in (connection.owner, *connection.processes):
                _, remarks = found.setdefault(_key(process), (process, {}))
                if remark:
                    remarks[remark] = None
        yield from found.values()

    def _describe(self, process: Process | None, remarks: Iterable[str]) -> _Interface:
        interface = _Interface(number=len(self._interfaces))
        self._interfaces[_key(process)] = interface
        self._write(
            blocks.interface_description(
                name=words.interface_name(process),
                description=words.interface_text(process, remarks),
                system=words.system_text(self._tables),
            )
        )
        return interface

    def traffic(self, item: Traffic) -> None:
        """Turn one item into packets."""
        match item:
            case Segment():
                self._segment(item)
            case Gap():
                connection = self._connection(item.connection, item.time_ns)
                note = words.gap_comment(item)
                connection.gap(item.direction, item.offset, item.length, note)
            case Opened():
                self._connection(item.connection, item.time_ns)
            case Closed():
                self._closed(item)
            case Loss():
                self._losses.pending += item.samples
                self._losses.lost += item.samples
                self._losses.skipped += item.skipped
            case ProcessStarted() | ProcessExited():
                pass  # rows of a timeline; here they would stop a conversion to classic pcap

    def exchange(self, exchange: Exchange) -> None:
        """Packets say it all."""

    def _connection(self, connection: Connection, time_ns: int) -> SyntheticConnection:
        """The open connection, opened now where this is the first of it."""
        known = self._open.get(connection.number)
        if known is not None:
            return known
        shown = self._ports.shown(connection)
        synthetic = SyntheticConnection(
            number=connection.number,
            shown=shown,
            place=self._ports.continuation,
            older=connection.older,
        )
        self._open[connection.number] = synthetic
        if connection.error is not None and connection.established_ns is None:
            comment = words.connection_comment(connection, shown, _attempt_marks(connection))
            refused = connection.error in _REFUSALS
            self._put(connection, synthetic.attempt(comment, refused=refused), time_ns)
        elif not connection.older:
            comment = words.connection_comment(connection, shown, _HANDSHAKE)
            self._put(connection, synthetic.handshake(comment), time_ns)
        return synthetic

    def _segment(self, segment: Segment) -> None:
        connection = segment.connection
        synthetic = self._connection(connection, segment.time_ns)
        if not segment.data:
            return  # a call that moved nothing has no packet to carry a comment
        comment = ""
        if synthetic.is_fresh(segment.direction):
            comment = self._first_comment(synthetic, segment)
        packets = synthetic.data(segment.direction, segment.offset, segment.data, comment)
        self._put(connection, packets, segment.time_ns, segment)

    def _first_comment(self, synthetic: SyntheticConnection, segment: Segment) -> str:
        continuation, _ = synthetic.place_of(segment.direction)
        connection = segment.connection
        if continuation:
            return words.continuation_comment(connection, synthetic.shown, segment.direction)
        return words.connection_comment(connection, synthetic.shown, _NO_HANDSHAKE)

    def _closed(self, item: Closed) -> None:
        synthetic = self._open.pop(item.connection.number, None)
        # A connection that the recording ended before has no FIN, nor has a failed attempt.
        if synthetic is None or item.connection.closed_ns is None:
            return
        if item.connection.error is None or item.connection.established_ns is not None:
            self._put(item.connection, synthetic.fins(), item.time_ns)

    def _put(
        self,
        connection: Connection,
        packets: Iterable[Packet],
        time_ns: int,
        segment: Segment | None = None,
    ) -> None:
        process = segment.process if segment else connection.owner
        interface = self._interfaces.get(_key(process)) or self._describe(process, ())
        realtime_ns = self._wall(time_ns)
        outgoing = Direction.C2S if connection.side is Side.CLIENT else Direction.S2C
        for packet in packets:
            way = blocks.OUTBOUND if packet.direction is outgoing else blocks.INBOUND
            options = [blocks.comment(packet.comment), blocks.flags(way)]
            if self._losses.pending:
                options.append(blocks.drop_count(self._losses.pending))
                self._losses.pending = 0
            if segment is not None and packet.observed:
                options.append(_provenance(segment))
            interface.packets += 1
            self._write(
                blocks.enhanced_packet(
                    interface.number, realtime_ns, packet.data, b"".join(options)
                )
            )

    def _wall(self, time_ns: int) -> int:
        realtime_ns = self._clock.realtime_ns(time_ns)
        if 0 < self._last_ns - realtime_ns < _SLEW_NS:
            realtime_ns = self._last_ns
        self._last_ns = realtime_ns
        return realtime_ns

    def finish(self) -> None:
        """Write the statistics and give the file its name."""
        start_ns = self._clock.realtime_ns(self._tables.start_ns)
        end_ns = self._clock.realtime_ns(self._tables.end_ns)
        for interface in self._interfaces.values():
            first = interface.number == 0
            losses = (self._losses.skipped, self._losses.lost)
            self._write(
                blocks.interface_statistics(
                    interface.number,
                    start_ns=start_ns,
                    end_ns=end_ns,
                    received=interface.packets,
                    dropped=losses if first else None,
                    remark="losses are those of all processes together" if first else "",
                )
            )
        self._output.commit()

    def abandon(self) -> None:
        """Remove what was begun."""
        self._output.abandon()


def _key(process: Process | None) -> str:
    return process.entity_id if process else ""


def _provenance(segment: Segment) -> bytes:
    options = blocks.packet_id(segment.record)
    if segment.process is None:
        return options
    return options + blocks.process_thread(
        segment.process.pid & 0xFFFFFFFF, segment.tid & 0xFFFFFFFF
    )


def _server_remark(connection: Connection, ports: PortPlan) -> str:
    shown = ports.shown(connection)
    if connection.server is None or connection.server.port == shown.server.port:
        return ""
    return f"server port {connection.server.port} shown as {shown.server.port}"


def _attempt_marks(connection: Connection) -> str:
    answer = " and the RST" if connection.error in _REFUSALS else ""
    return f"attempt that failed; the SYN{answer} and all headers are synthesised"
