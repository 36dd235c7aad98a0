"""How much open TCP connections have moved, as the kernel counts it: sock_diag (man 7 sock_diag).

/proc does not show it. Other network namespaces are entered by a thread of ours for the moment
that it takes to open a socket there (CAP_SYS_ADMIN); without it they are left out.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

__all__ = ["read_socket_counts"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_INET_DIAG_INFO = 2
_ESTABLISHED = 1
_CLONE_NEWNET = 0x40000000
_HEAD = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST = struct.Struct("=BBBBI48s")  # struct inet_diag_req_v2
_MESSAGE = struct.Struct("=BBBB48sIIIII")  # struct inet_diag_msg
_ATTRIBUTE = struct.Struct("=HH")
# struct tcp_info: notsent_bytes, bytes_received, bytes_sent, bytes_retrans
_NOT_SENT_AT, _RECEIVED_AT, _SENT_AT, _RETRANS_AT = 144, 128, 200, 208
_INFO_SIZE = 216
_BUFFER = 1 << 16
_SECONDS = 2


def read_socket_counts(namespaces: Mapping[int, int]) -> dict[tuple[int, int], tuple[int, int]]:
    """(bytes that the program read, bytes that it wrote) of established connections.

    ``namespaces``: a process in each network namespace, by the namespace's inode. The result is
    by namespace and the socket's inode; what cannot be read is not in it.
    """
    own = os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for netns, pid in namespaces.items():
        try:
            diag = _open() if netns == own else _open_in(pid)
        except OSError:
            continue  # not allowed, or gone
        with diag:
            for family in (socket.AF_INET, socket.AF_INET6):
                found.update(((netns, inode), moved) for inode, moved in _iter(diag, family))
    return found


def _open() -> socket.socket:
    found = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
    found.settimeout(_SECONDS)
    return found


def _open_in(pid: int) -> socket.socket:
    """A socket belongs to the namespace that its thread was in; that thread ends here."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_enter_and_open, pid).result()


def _enter_and_open(pid: int) -> socket.socket:
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
    return _open()


def _iter(diag: socket.socket, family: int) -> Iterator[tuple[int, tuple[int, int]]]:
    states, wanted = 1 << _ESTABLISHED, 1 << (_INET_DIAG_INFO - 1)
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, wanted, 0, states, b"")
    head = _HEAD.pack(_HEAD.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
    try:
        diag.send(head + body)
        while True:
            for kind, message in _iter_messages(diag.recv(_BUFFER)):
                if kind in {_DONE, _ERROR}:
                    return
                row = _maybe_row(message)
                if row is not None:
                    yield row
    except OSError:
        return  # a kernel without inet_diag: nothing is known


def _iter_messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEAD.size <= len(data):
        size, kind, *_ = _HEAD.unpack_from(data, at)
        if size < _HEAD.size:
            return
        yield kind, data[at + _HEAD.size : at + size]
        at += (size + 3) & ~3


def _maybe_row(message: bytes) -> tuple[int, tuple[int, int]] | None:
    if len(message) < _MESSAGE.size:
        return None
    *_, unread, _, _, inode = _MESSAGE.unpack_from(message)
    at = _MESSAGE.size
    while at + _ATTRIBUTE.size <= len(message):
        size, kind = _ATTRIBUTE.unpack_from(message, at)
        info = message[at + _ATTRIBUTE.size : at + size]
        if kind == _INET_DIAG_INFO and len(info) >= _INFO_SIZE:
            return inode, _moved(info, unread)
        at += max((size + 3) & ~3, _ATTRIBUTE.size)
    return None


def _moved(info: bytes, unread: int) -> tuple[int, int]:
    received, sent, again = (
        struct.unpack_from("=Q", info, at)[0] for at in (_RECEIVED_AT, _SENT_AT, _RETRANS_AT)
    )
    (waiting,) = struct.unpack_from("=I", info, _NOT_SENT_AT)
    return received - unread, sent - again + waiting
