"""Samples: what the probes wrote, decoded field by field (formats/samples.md).

Rule 1: nothing here raises on any bytes; what cannot be a sample is `None`.
Rule 2: lengths in a sample are claims: payload is cut to what is there.

Values are named tuples: millions of them are made, and a tuple costs a third of a dataclass.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from qtapture.reassembly.layout import LAYOUTS

__all__ = [
    "Exec",
    "ExecArgs",
    "Exit",
    "Flag",
    "Fork",
    "Head",
    "Join",
    "Kind",
    "Missing",
    "Sample",
    "SampleType",
    "SockData",
    "SockId",
    "SockState",
    "TcpState",
    "TlsData",
    "TlsFree",
    "TlsJoin",
    "Tuple",
    "decode",
    "sample_kind",
    "sample_time",
]


class SampleType(IntEnum):
    """``qt_head.type``."""

    EXEC = 1
    EXEC_ARGS = 2
    FORK = 3
    EXIT = 4
    SOCK_STATE = 10
    SOCK_SEEN = 11
    SOCK_END = 12
    SOCK_DATA = 20
    TLS_DATA = 30
    TLS_JOIN = 31
    TLS_FREE = 32


class Kind(IntEnum):
    """What a sample is counted under: ``qt_head.kind``."""

    CONTROL = 0
    TLS = 1
    SOCKET = 2
    SOCKET_HEADS = 3
    SECRETS = 4
    PACKETS = 5


class Flag(IntEnum):
    """Bits of ``qt_head.flags``."""

    NO_TASK = 1
    OLDER = 2


class TcpState(IntEnum):
    """States that matter here, by the kernel's numbers (include/net/tcp_states.h)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


class Missing(IntEnum):
    """Why ``captured_len`` falls short of ``piece_len``."""

    NONE = 0
    HEAD = 1
    NO_BUFFER = 2
    FAULT = 3
    LIMIT = 4


class Join(IntEnum):
    """How an SSL object was found to speak over a socket."""

    NESTED = 1
    RECORD = 2


class Head(NamedTuple):
    """What every sample begins with."""

    type: int
    kind: int
    flags: int
    length: int
    time_ns: int
    pid: int
    tid: int
    start_ticks: int
    comm: bytes


class SockId(NamedTuple):
    """A socket: kernel address and birth; the inode is 0 before accept and when orphaned."""

    sk: int
    birth_ns: int
    inode: int


class Tuple(NamedTuple):
    """Both addresses of a socket, ports in host order."""

    family: int
    protocol: int
    local_port: int
    peer_port: int
    netns: int
    reserved: int
    local: bytes
    peer: bytes


class Exec(NamedTuple):
    """A process runs another program from now on."""

    head: Head
    ppid: int
    ns_pid: int
    uid: int
    gid: int
    start_ns: int
    parent_start_ticks: int
    cgroup_id: int
    exe_inode: int
    exe_dev: int
    args_len: int
    file_len: int
    file: bytes


class ExecArgs(NamedTuple):
    """A piece of the argument area of an `Exec`."""

    head: Head
    exec_ns: int
    offset: int
    data: bytes


class Fork(NamedTuple):
    """A process was made; ``head`` is its parent."""

    head: Head
    child_pid: int
    child_ns_pid: int
    child_start_ticks: int
    child_start_ns: int
    uid: int
    gid: int
    cgroup_id: int


class Exit(NamedTuple):
    """The last thread of a process ended."""

    head: Head
    exit_code: int  # as wait(2) has it


class SockState(NamedTuple):
    """SOCK_STATE, SOCK_SEEN or SOCK_END, by ``head.type``."""

    head: Head
    sock: SockId
    tuple: Tuple
    old_state: int
    new_state: int
    error: int
    bytes_received: int
    bytes_sent: int
    cookie: int
    owner_ticks: int
    owner_pid: int
    seen_received: int
    seen_sent: int


class SockData(NamedTuple):
    """One piece of one socket call."""

    head: Head
    sock: SockId
    offset: int
    call_id: int
    call_len: int
    call_offset: int
    piece_len: int
    direction: int
    mode: int
    missing: int
    tls: int
    syscall: int
    data: bytes


class TlsData(NamedTuple):
    """One piece of one SSL_read or SSL_write."""

    head: Head
    ssl: int
    ssl_birth_ns: int
    sock: SockId
    offset: int
    call_id: int
    call_len: int
    call_offset: int
    piece_len: int
    direction: int
    missing: int
    function: int
    library: int
    call_begin_ns: int
    data: bytes


class TlsJoin(NamedTuple):
    """An SSL object speaks over a socket."""

    head: Head
    ssl: int
    ssl_birth_ns: int
    sock: SockId
    tuple: Tuple
    library: int
    how: int


class TlsFree(NamedTuple):
    """An SSL object ends; the totals are what its calls moved, captured or not."""

    head: Head
    ssl: int
    ssl_birth_ns: int
    sock: SockId
    total_read: int
    total_written: int


Sample = Exec | ExecArgs | Fork | Exit | SockState | SockData | TlsData | TlsJoin | TlsFree


_HEAD = LAYOUTS["qt_head"].reader
_EXEC = LAYOUTS["qt_exec"].reader
_EXEC_ARGS = LAYOUTS["qt_exec_args"].reader
_FORK = LAYOUTS["qt_fork"].reader
_EXIT = LAYOUTS["qt_exit"].reader
_SOCK_STATE = LAYOUTS["qt_sock_state"].reader
_SOCK_DATA = LAYOUTS["qt_sock_data"].reader
_TLS_DATA = LAYOUTS["qt_tls_data"].reader
_TLS_JOIN = LAYOUTS["qt_tls_join"].reader
_TLS_FREE = LAYOUTS["qt_tls_free"].reader
_TIME = struct.Struct("<Q")
_TIME_AT = LAYOUTS["qt_head"].offsets()["time_ns"][0]
_KIND_AT = LAYOUTS["qt_head"].offsets()["kind"][0]
_LENGTH = struct.Struct("<I")
_LENGTH_AT = LAYOUTS["qt_head"].offsets()["length"][0]
_H = 9  # flat fields of a head
_S = _H + 3  # of a head and a socket id


def _exec(raw: bytes) -> Exec:
    v = _EXEC.unpack_from(raw)
    return Exec._make((Head(*v[:_H]), *v[_H:-1], raw[_EXEC.size : _EXEC.size + v[-2]]))


def _exec_args(raw: bytes) -> ExecArgs:
    v = _EXEC_ARGS.unpack_from(raw)
    data = raw[_EXEC_ARGS.size : _EXEC_ARGS.size + v[-1]]
    return ExecArgs(Head(*v[:_H]), v[_H], v[_H + 1], data)


def _fork(raw: bytes) -> Fork:
    v = _FORK.unpack_from(raw)
    return Fork(Head(*v[:_H]), *v[_H:])


def _exit(raw: bytes) -> Exit:
    v = _EXIT.unpack_from(raw)
    return Exit(Head(*v[:_H]), v[_H])


def _sock_state(raw: bytes) -> SockState:
    v = _SOCK_STATE.unpack_from(raw)
    t = _S + 8
    return SockState(
        Head(*v[:_H]),
        SockId(*v[_H:_S]),
        Tuple(*v[_S:t]),
        v[t],
        v[t + 1],
        *v[t + 3 : t + 9],
        *v[t + 10 :],
    )


def _sock_data(raw: bytes) -> SockData:
    v = _SOCK_DATA.unpack_from(raw)
    captured, piece = v[_S + 4 : _S + 6]
    data = raw[_SOCK_DATA.size : _SOCK_DATA.size + min(captured, piece)]
    sock = SockId(*v[_H:_S])
    return SockData._make((Head(*v[:_H]), sock, *v[_S : _S + 4], *v[_S + 5 :], data))


def _tls_data(raw: bytes) -> TlsData:
    v = _TLS_DATA.unpack_from(raw)
    s = _S + 2
    captured, piece = v[s + 4 : s + 6]
    data = raw[_TLS_DATA.size : _TLS_DATA.size + min(captured, piece)]
    sock = SockId(*v[_H + 2 : s])
    ssl = v[_H : _H + 2]
    return TlsData._make((Head(*v[:_H]), *ssl, sock, *v[s : s + 4], *v[s + 5 :], data))


def _tls_join(raw: bytes) -> TlsJoin:
    v = _TLS_JOIN.unpack_from(raw)
    s = _S + 2
    where = Tuple(*v[s : s + 8])
    return TlsJoin(
        Head(*v[:_H]), v[_H], v[_H + 1], SockId(*v[_H + 2 : s]), where, v[s + 8], v[s + 9]
    )


def _tls_free(raw: bytes) -> TlsFree:
    v = _TLS_FREE.unpack_from(raw)
    s = _S + 2
    return TlsFree(Head(*v[:_H]), v[_H], v[_H + 1], SockId(*v[_H + 2 : s]), v[s], v[s + 1])


_DECODERS: dict[int, tuple[int, Callable[[bytes], Sample]]] = {
    SampleType.EXEC: (_EXEC.size, _exec),
    SampleType.EXEC_ARGS: (_EXEC_ARGS.size, _exec_args),
    SampleType.FORK: (_FORK.size, _fork),
    SampleType.EXIT: (_EXIT.size, _exit),
    SampleType.SOCK_STATE: (_SOCK_STATE.size, _sock_state),
    SampleType.SOCK_SEEN: (_SOCK_STATE.size, _sock_state),
    SampleType.SOCK_END: (_SOCK_STATE.size, _sock_state),
    SampleType.SOCK_DATA: (_SOCK_DATA.size, _sock_data),
    SampleType.TLS_DATA: (_TLS_DATA.size, _tls_data),
    SampleType.TLS_JOIN: (_TLS_JOIN.size, _tls_join),
    SampleType.TLS_FREE: (_TLS_FREE.size, _tls_free),
}


def decode(raw: bytes) -> Sample | None:
    """One sample; None where it is of a type we do not know, or too short for its type."""
    if len(raw) < _HEAD.size:
        return None
    kind = _DECODERS.get(raw[0] | raw[1] << 8)
    length = _LENGTH.unpack_from(raw, _LENGTH_AT)[0]
    if kind is None or not kind[0] <= length <= len(raw):
        return None
    return kind[1](raw[:length])


def sample_kind(raw: bytes) -> int:
    """What a sample that has a head is counted under."""
    return raw[_KIND_AT]


def sample_time(raw: bytes) -> int | None:
    """The time of a sample without decoding the rest; None where it is too short."""
    if len(raw) < _HEAD.size:
        return None
    return int(_TIME.unpack_from(raw, _TIME_AT)[0])
