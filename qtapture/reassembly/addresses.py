"""Addresses as the kernel stores them, and errno names, which are Linux's wherever we run."""

import ipaddress

from qtapture.events import Endpoint

__all__ = ["endpoint", "errno_name", "plain_address"]

_INET = 2
_INET_BYTES = 4
# RFC 4291 2.5.5.2: an IPv4 peer of a dual-stack socket; both ends must look alike to be paired.
_MAPPED = bytes(10) + b"\xff\xff"

# asm-generic/errno.h: what a connect or an established connection can end with.
_ERRNO = {
    1: "EPERM",
    12: "ENOMEM",
    13: "EACCES",
    22: "EINVAL",
    32: "EPIPE",
    71: "EPROTO",
    90: "EMSGSIZE",
    92: "ENOPROTOOPT",
    97: "EAFNOSUPPORT",
    98: "EADDRINUSE",
    99: "EADDRNOTAVAIL",
    100: "ENETDOWN",
    101: "ENETUNREACH",
    103: "ECONNABORTED",
    104: "ECONNRESET",
    105: "ENOBUFS",
    110: "ETIMEDOUT",
    111: "ECONNREFUSED",
    112: "EHOSTDOWN",
    113: "EHOSTUNREACH",
}


def plain_address(family: int, raw: bytes) -> bytes:
    """Four bytes for IPv4, also where it is mapped into IPv6, else sixteen."""
    if family == _INET:
        return raw[:_INET_BYTES]
    return raw.removeprefix(_MAPPED)


def endpoint(address: bytes, port: int) -> Endpoint:
    """An address for people."""
    if len(address) == _INET_BYTES:
        return Endpoint(ip=str(ipaddress.IPv4Address(address)), port=port)
    return Endpoint(ip=str(ipaddress.IPv6Address(address.ljust(16, b"\0"))), port=port)


def errno_name(error: int) -> str | None:
    """``ECONNREFUSED``; ``errno 7`` where it has no business on a socket; None for none."""
    if not error:
        return None
    return _ERRNO.get(error, f"errno {error}")
