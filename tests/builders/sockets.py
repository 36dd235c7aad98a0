"""Sockets and SSL objects of imaginary processes, as probes see them used."""

from builders.records import (
    CLOSE,
    ESTABLISHED,
    FIN_WAIT2,
    HELLO,
    KIND_CONTROL,
    KIND_HEADS,
    KIND_SOCKET,
    KIND_TLS,
    LIBRARY,
    NESTED,
    NETNS,
    PAYLOAD,
    PIECE,
    pack,
    place,
)

from qtapture.reassembly.layout import LAYOUTS


class Socket:
    """One socket of a process; another one may speak over it with ``by``."""

    def __init__(self, process, local: str, peer: str, *, netns: int = NETNS, sk: int = 0) -> None:
        self.process = process
        self.host = process.host
        family, self.local, self.local_port = place(local)
        _, self.peer, self.peer_port = place(peer)
        self.family = family
        self.netns = netns
        self.sk = sk or self.host.address()
        self.birth_ns = self.host.tick()
        self.inode = self.sk >> 12 & 0xFFFF
        self.flags = 0
        self.offsets = [0, 0]
        self.kernel = [0, 0]  # what the kernel counts beside the calls that probes saw
        self.tls = 0
        self.fin = 0
        self.owned = True
        self.introduced = False

    def ids(self) -> dict:
        return {"sock__sk": self.sk, "sock__birth_ns": self.birth_ns, "sock__inode": self.inode}

    def tuple(self) -> dict:
        return {
            "tuple__family": self.family,
            "tuple__protocol": 6,
            "tuple__local_port": self.local_port,
            "tuple__peer_port": self.peer_port,
            "tuple__netns": self.netns,
            "tuple__local": self.local,
            "tuple__peer": self.peer,
        }

    def state(self, old: int, new: int, *, type_: int = 10, task: bool = True, error: int = 0):
        self.host.tick()
        self.process.control(
            "qt_sock_state",
            **self.process.head(KIND_CONTROL, type_, self.flags, task),
            **self.ids(),
            **self.tuple(),
            old_state=old,
            new_state=new,
            error=error,
            bytes_received=self.offsets[0] + self.kernel[0] + self.fin,
            bytes_sent=self.offsets[1] + self.kernel[1],
            owner_pid=self.process.pid if self.owned else 0,
            owner_ticks=self.process.ticks if self.owned else 0,
            seen_received=self.offsets[0],
            seen_sent=self.offsets[1],
        )

    def _call(self, way: int, data: bytes, *, by, missing: int, tls: int | None):
        process = by or self.process
        if not self.introduced:
            self.introduced = True
            self.owned = True
            if way == 0:  # the kernel received it before the call returned
                self.kernel[0] += len(data)
            self.state(ESTABLISHED, ESTABLISHED, type_=11)
            if way == 0:
                self.kernel[0] -= len(data)
        self.host.tick()
        at = 0
        while at < len(data):
            piece = data[at : at + PIECE]
            captured = b"" if missing in (2, 3, 4) else piece[:64] if missing == 1 else piece
            self._piece(process, way, (piece, captured), missing, (at, len(data)), tls)
            at += len(piece)
        self.offsets[way] += len(data)

    def _piece(self, process, way, pieces, missing, call, tls) -> None:
        piece, captured = pieces
        kind = KIND_HEADS if missing == 1 else KIND_SOCKET
        raw = pack(
            "qt_sock_data",
            captured,
            **process.head(kind, 20, self.flags),
            **self.ids(),
            head__length=LAYOUTS["qt_sock_data"].size + len(captured),
            offset=self.offsets[way] + call[0],
            call_id=self.host.time_ns,
            call_len=call[1],
            call_offset=call[0],
            captured_len=len(captured),
            piece_len=len(piece),
            direction=way,
            mode=1 if missing == 1 else 0,
            missing=missing if len(captured) < len(piece) else 0,
            tls=self.tls if tls is None else tls,
        )
        self.host.emit(PAYLOAD, kind, raw, len(piece))

    def receive(self, data: bytes, *, by=None, missing: int = 0, tls: int | None = None) -> None:
        self._call(0, data, by=by, missing=missing, tls=tls)

    def send(self, data: bytes, *, by=None, missing: int = 0, tls: int | None = None) -> None:
        self._call(1, data, by=by, missing=missing, tls=tls)

    def close(self, error: int = 0, *, fin: bool = True) -> None:
        """The peer's FIN was received, then CLOSE and the end of the memory."""
        self.fin = int(fin)
        self.state(FIN_WAIT2 if fin else ESTABLISHED, CLOSE, task=False, error=error)
        self.state(CLOSE, CLOSE, type_=12, task=False)


class Ssl:
    """One SSL object of a process."""

    def __init__(self, process, address: int) -> None:
        self.process = process
        self.host = process.host
        self.address = address
        self.birth_ns = self.host.tick()
        self.socket: Socket | None = None
        self.offsets = [0, 0]

    def ids(self) -> dict:
        ids = self.socket.ids() if self.socket else {}
        return {"ssl": self.address, "ssl_birth_ns": self.birth_ns, **ids}

    def join(self, socket: Socket, how: int = NESTED, *, hello: bool = True) -> None:
        """The first record goes out, and the socket is known from then on."""
        self.host.tick()
        self.socket = socket
        socket.tls = 1
        self.process.control(
            "qt_tls_join",
            **self.process.head(KIND_CONTROL, 31),
            **self.ids(),
            **socket.tuple(),
            library=LIBRARY,
            how=how,
        )
        if hello:
            socket.send(HELLO)
            socket.receive(HELLO)

    def _call(self, way: int, data: bytes, missing: int) -> None:
        begin = self.host.time_ns
        self.host.tick()
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            captured = b"" if missing else piece
            raw = pack(
                "qt_tls_data",
                captured,
                **self.process.head(KIND_TLS, 30),
                **self.ids(),
                head__length=LAYOUTS["qt_tls_data"].size + len(captured),
                offset=self.offsets[way] + at,
                call_id=self.host.time_ns,
                call_len=len(data),
                call_offset=at,
                captured_len=len(captured),
                piece_len=len(piece),
                direction=way,
                missing=missing,
                function=way,
                library=LIBRARY,
                call_begin_ns=begin,
            )
            self.host.emit(PAYLOAD, KIND_TLS, raw, len(piece))
        self.offsets[way] += len(data)

    def read(self, data: bytes, missing: int = 0) -> None:
        self._call(0, data, missing)

    def write(self, data: bytes, missing: int = 0) -> None:
        self._call(1, data, missing)

    def free(self) -> None:
        self.host.tick()
        self.process.control(
            "qt_tls_free",
            **self.process.head(KIND_CONTROL, 32),
            **self.ids(),
            total_read=self.offsets[0],
            total_written=self.offsets[1],
        )
