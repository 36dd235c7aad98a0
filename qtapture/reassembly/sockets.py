"""Sockets and SSL objects as the samples tell of them.

Rule 1: a socket is (address, birth), an SSL object (pid, address, birth): an address that is
used again is something else.
Rule 2: a socket's side is what was seen of it: who connected is the client.
"""

from collections.abc import Mapping
from typing import Any

from qtapture.events import ReasonCode, Side
from qtapture.reassembly.addresses import plain_address
from qtapture.reassembly.facts import number, text
from qtapture.reassembly.hello import HelloReader
from qtapture.reassembly.idle import MOST_IDLE, Place, holder, is_open, iter_idle, place
from qtapture.reassembly.rows import RECEIVED, SENT, Lane, SocketKey, SocketRow, SslKey, SslRow
from qtapture.reassembly.samples import (
    Flag,
    Head,
    Join,
    Missing,
    SampleType,
    SockData,
    SockId,
    SockState,
    TcpState,
    TlsData,
    TlsFree,
    TlsJoin,
    Tuple,
)

__all__ = ["MISSING_REASONS", "SocketBook"]

_PEER_ENDED = frozenset(
    (
        TcpState.FIN_WAIT2,
        TcpState.TIME_WAIT,
        TcpState.CLOSE_WAIT,
        TcpState.LAST_ACK,
        TcpState.CLOSING,
    )
)
_JOIN_NAMES: dict[int, str] = {Join.NESTED: "nested", Join.RECORD: "record"}
_HANDSHAKE = b"\x16\x03"  # RFC 8446 5.1: a handshake record of TLS 1.x
_PROTECTED = 0x17

# HEAD is by choice, and what the choice means depends on the connection: see `account`.
MISSING_REASONS: dict[int, ReasonCode] = {
    Missing.NO_BUFFER: ReasonCode.NO_BUFFER,
    Missing.FAULT: ReasonCode.UNREADABLE_BUFFER,
    Missing.LIMIT: ReasonCode.CALL_TOO_LARGE,
}


class SocketBook:
    """All sockets and SSL objects of a session, in order of first sight."""

    def __init__(self) -> None:
        self.sockets: dict[SocketKey, SocketRow] = {}
        self.objects: dict[tuple[SslKey, SocketKey | None], SslRow] = {}
        self.listeners: set[tuple[int, int]] = set()  # network namespace, port
        self._latest: dict[SslKey, SslRow] = {}
        self._open_before: list[tuple[int, Mapping[str, Any]]] = []
        self._open_at_end: dict[int | Place, Mapping[str, Any]] = {}  # by inode, and by addresses

    # -------------------------------------------------------------- sockets

    def _row(self, sock: SockId, time_ns: int) -> SocketRow:
        key = (sock.sk, sock.birth_ns)
        row = self.sockets.get(key)
        if row is None:
            row = self.sockets[key] = SocketRow(key=key, first_ns=time_ns)
        row.first_ns = min(row.first_ns, time_ns)
        row.last_ns = max(row.last_ns, time_ns)
        row.inode = sock.inode or row.inode
        return row

    def state(self, sample: SockState) -> None:
        """A state change, a first sight, or the end of a socket."""
        head = sample.head
        row = self._row(sample.sock, head.time_ns)
        _place(row, sample.tuple)
        row.cookie = sample.cookie or row.cookie
        row.older |= bool(head.flags & Flag.OLDER)
        if sample.owner_pid:
            row.owner = (sample.owner_pid, sample.owner_ticks)
        row.seen[RECEIVED] = max(row.seen[RECEIVED], sample.seen_received)
        row.seen[SENT] = max(row.seen[SENT], sample.seen_sent)
        row.finished |= sample.new_state in _PEER_ENDED or sample.old_state in _PEER_ENDED
        self._maybe_nothing_before(row, sample)
        if head.type == SampleType.SOCK_SEEN:
            row.speakers.add((head.pid, head.start_ticks), head.time_ns)
            row.first_received = min(row.first_received, sample.bytes_received)
        elif head.type == SampleType.SOCK_END:
            _end(row, sample)
        else:
            self._transition(row, sample)

    def _transition(self, row: SocketRow, sample: SockState) -> None:
        time_ns = sample.head.time_ns
        match sample.new_state:
            case TcpState.LISTEN:
                row.listener = True
                self.listeners.add((row.netns, row.local_port))
            case TcpState.SYN_SENT:
                row.side = Side.CLIENT
                row.connect_ns = time_ns
            case TcpState.ESTABLISHED:
                row.established_ns = time_ns
                if sample.old_state in (TcpState.SYN_SENT, TcpState.SYN_RECV):
                    accepted = sample.old_state == TcpState.SYN_RECV
                    row.side = Side.SERVER if accepted else Side.CLIENT
            case TcpState.CLOSE:
                row.listener |= sample.old_state == TcpState.LISTEN
                _end(row, sample)
            case _:
                pass

    def _maybe_nothing_before(self, row: SocketRow, sample: SockState) -> None:
        """Whether the kernel's counts show that nothing passed before our first sight."""
        fin = int(row.finished)
        if sample.bytes_received <= sample.seen_received + fin:
            row.nothing_before[RECEIVED] = True
        if sample.bytes_sent <= sample.seen_sent:
            row.nothing_before[SENT] = True

    def data(self, sample: SockData, epoch: int) -> None:
        """Payload of a plain socket, a hello, or the head of a TLS record."""
        head = sample.head
        row = self._row(sample.sock, head.time_ns)
        row.older |= bool(head.flags & Flag.OLDER)
        row.speakers.add((head.pid, head.start_ticks), head.time_ns)
        way = sample.direction & 1
        lane = row.lanes[way]
        _account(lane, sample, epoch)
        if way == RECEIVED and sample.offset == 0 and row.first_received <= sample.call_len:
            row.nothing_before[RECEIVED] = True
        end = sample.offset + sample.piece_len
        row.seen[way] = max(row.seen[way], end)
        starts_records = sample.call_offset == 0 and sample.data[:2] == _HANDSHAKE
        if sample.tls or starts_records:
            known = lane.records_from
            lane.records_from = sample.offset if known is None else min(sample.offset, known)
        if sample.tls:
            row.tls = True
            _records(row, way, sample)
        else:
            lane.plain_end = max(lane.plain_end, end)

    # -------------------------------------------------------------- SSL objects

    def _object(self, head: Head, key: tuple[int, int], sock: SockId) -> SslRow:
        ssl: SslKey = (head.pid, *key)
        socket = (sock.sk, sock.birth_ns) if sock.sk else None
        latest = self._latest.get(ssl)
        if socket is None and latest is not None:
            row = latest
        elif latest is not None and latest.socket is None and socket is not None:
            # Spoken before its socket was known: that was this socket.
            del self.objects[ssl, None]
            latest.socket = socket
            row = self.objects.setdefault((ssl, socket), latest)
        else:
            row = self._object_of(ssl, socket, latest)
        self._latest[ssl] = row
        row.first_ns = min(row.first_ns or head.time_ns, head.time_ns)
        row.last_ns = max(row.last_ns, head.time_ns)
        return row

    def _object_of(self, ssl: SslKey, socket: SocketKey | None, latest: SslRow | None) -> SslRow:
        row = self.objects.get((ssl, socket))
        if row is None:
            row = self.objects[ssl, socket] = SslRow(key=ssl, socket=socket)
            for way in (RECEIVED, SENT):
                row.lanes[way].origin = latest.lanes[way].coverage.end if latest else 0
        return row

    def plaintext(self, sample: TlsData, epoch: int) -> None:
        """What one piece of a TLS call moved."""
        head = sample.head
        row = self._object(head, (sample.ssl, sample.ssl_birth_ns), sample.sock)
        row.library = sample.library or row.library
        row.speakers.add((head.pid, head.start_ticks), head.time_ns)
        _account(row.lanes[sample.direction & 1], sample, epoch)

    def join(self, sample: TlsJoin) -> None:
        """An SSL object's socket became known."""
        head = sample.head
        row = self._object(head, (sample.ssl, sample.ssl_birth_ns), sample.sock)
        row.library = sample.library or row.library
        row.joined_by = row.joined_by or _JOIN_NAMES.get(sample.how, "")
        if row.joined_ns is None:
            row.joined_ns = head.time_ns
        row.speakers.add((head.pid, head.start_ticks), head.time_ns)
        if sample.sock.sk:
            socket = self._row(sample.sock, head.time_ns)
            socket.tls = True
            _place(socket, sample.tuple)

    def free(self, sample: TlsFree) -> None:
        """An SSL object ended; its totals tell what is missing at the end."""
        row = self._object(sample.head, (sample.ssl, sample.ssl_birth_ns), sample.sock)
        row.freed = (sample.total_read, sample.total_written)

    # -------------------------------------------------------------- the recorder's own view

    def snapshot(self, time_ns: int, body: Mapping[str, Any]) -> None:
        """A socket as the kernel listed it: who listens, and what was open before."""
        if text(body, "at") == "end":
            if len(self._open_at_end) < MOST_IDLE:
                self._open_at_end[number(body, "inode")] = body
                self._open_at_end[place(body)] = body
            return
        if is_open(body) and len(self._open_before) < MOST_IDLE:
            self._open_before.append((time_ns, body))
        state = body.get("state")
        if state in (TcpState.LISTEN, str(TcpState.LISTEN.value)) or (
            text(body, "state").upper() == "LISTEN"
        ):
            self.listeners.add((number(body, "netns"), _local_port(body)))

    def add_idle(self) -> None:
        """Once all samples are known: connections that none of them was about."""
        for row in list(iter_idle(self._open_before, self.sockets.values())):
            self.sockets[row.key] = row
        self._open_before.clear()
        for row in self.sockets.values():
            # An accepted socket that nobody used has no inode in any sample.
            where = (row.netns, row.local, row.local_port, row.peer, row.peer_port)
            told = self._open_at_end.get(row.inode) or self._open_at_end.get(where)
            _finish_open(row, told)
        self._open_at_end.clear()


def _finish_open(row: SocketRow, body: Mapping[str, Any] | None) -> None:
    """The kernel's counts of a connection that was open when the recording ended, and its holder.

    Whoever accepted and said nothing is known from here alone.
    """
    if body is None or row.closed_ns is not None or row.final is not None:
        return
    if not row.owner[0]:
        row.owner = holder(body)
    read, written = body.get("read"), body.get("written")
    if isinstance(read, int) and isinstance(written, int) and min(read, written) >= 0:
        row.final = (read, written)
        if row.last_ns >= number(body, "counted_ns"):
            return  # more was said since: what was seen does not compare
        for way, total in ((RECEIVED, read), (SENT, written)):
            # As much as was seen: nothing passed before.
            row.nothing_before[way] |= total <= row.seen[way]


def _local_port(body: Mapping[str, Any]) -> int:
    return number(body, "local_port")


def _place(row: SocketRow, found: Tuple) -> None:
    """Take addresses; a port of 0 was read before the kernel chose one."""
    row.netns = found.netns or row.netns
    row.local_port = found.local_port or row.local_port
    if found.peer_port:
        row.peer_port = found.peer_port
        row.peer = plain_address(found.family, found.peer)
    local = plain_address(found.family, found.local)
    if any(local) or not row.local:
        row.local = local


def _end(row: SocketRow, sample: SockState) -> None:
    if row.closed_ns is None or sample.new_state == TcpState.CLOSE:
        row.closed_ns = min(row.closed_ns or sample.head.time_ns, sample.head.time_ns)
    row.error = row.error or sample.error
    received, sent = row.final or (0, 0)
    counted = max(sample.bytes_received - row.finished, 0)
    row.final = (max(received, counted), max(sent, sample.bytes_sent))


def _account(lane: Lane, sample: SockData | TlsData, epoch: int) -> None:
    end = sample.offset + sample.piece_len
    lane.coverage.add(sample.offset, end, epoch)
    lane.last_ns = max(lane.last_ns, sample.head.time_ns)
    captured = sample.offset + len(sample.data)
    if isinstance(sample, SockData) and sample.tls:
        return  # records: what is missing of them is no plaintext
    if captured < end and sample.missing != Missing.HEAD:
        reason = MISSING_REASONS.get(sample.missing, ReasonCode.UNREADABLE_BUFFER)
        lane.coverage.miss(captured, end, reason)


def _records(row: SocketRow, way: int, sample: SockData) -> None:
    """What TLS records show without being opened: hellos, and when secrecy began."""
    if row.hellos is None and sample.offset == 0:
        row.hellos = HelloReader()
    if row.hellos is not None:
        row.hellos.feed(way, sample.offset, sample.data)
    if sample.call_offset == 0 and sample.data[:1] == bytes((_PROTECTED,)):
        lane = row.lanes[way]
        time_ns = sample.head.time_ns
        lane.first_protected_ns = min(lane.first_protected_ns or time_ns, time_ns)
