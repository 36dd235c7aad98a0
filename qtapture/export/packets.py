"""Synthesised Ethernet, IP and TCP around observed bytes: the only door to dpkt.

dpkt lays out a header once for each direction of a connection; then struct patches lengths,
numbers and checksums, some twenty times faster than building every packet anew.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import dpkt

__all__ = ["ACK", "FIN", "PSH", "RST", "SYN", "SYN_OPTIONS", "Place", "TcpHeader"]

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10

# Locally administered (the 02), "QT" (51 54): nobody's hardware.
_MAC_PREFIX = b"\x02\x51\x54"
_TTL = 64
_WINDOW = 65_535
# Window scale 14, the largest (RFC 7323 2.3): readers must see no full window, as none was seen.
_WINDOW_SCALE = 14
_SEGMENT_SIZE = 16_384
SYN_OPTIONS = struct.pack("!BBHBBBB", 2, 4, _SEGMENT_SIZE, 1, 3, 3, _WINDOW_SCALE)

_TCP_PROTOCOL = 6
_TCP_LENGTH = 20
_IPV4_LENGTH = 20
_IPV4_BYTES = 4
# Everything before the ports' end, cut around the fields that differ in each packet.
_IPV4 = struct.Struct("!16sH6sH12s")
_IPV6 = struct.Struct("!18sH38s")
_TCP = struct.Struct("!IIHHHH")
_IPV4_AT = 14  # after Ethernet
_ONES = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a packet comes from or goes to: packed address (4 or 16 bytes) and port."""

    address: bytes
    port: int


class TcpHeader:
    """Headers of one direction of a connection; both addresses are of one family."""

    def __init__(self, source: Place, destination: Place) -> None:
        template = _template(source, destination)
        self._is_ipv4 = len(source.address) == _IPV4_BYTES
        addresses = source.address + destination.address
        ports = struct.pack("!HH", source.port, destination.port)
        # The pseudo header of RFC 9293 3.1 and RFC 8200 8.1, but for the length.
        self._constant = _sum(addresses) + _sum(ports) + _TCP_PROTOCOL + _WINDOW
        if self._is_ipv4:
            self._head = template[:16]
            self._middle = template[18:24]
            self._tail = template[26:38]
            # Header checksum without the length, which comes in for each packet.
            self._ipv4_sum = _sum(template[_IPV4_AT:16] + self._middle + self._tail[:8])
        else:
            self._head = template[:18]
            self._tail = template[20:58]

    def packet(
        self, seq: int, ack: int, tcp_flags: int, payload: bytes = b"", options: bytes = b""
    ) -> bytes:
        """A whole frame. ``seq`` and ``ack`` are 32-bit; ``options`` a multiple of 4 bytes."""
        length = _TCP_LENGTH + len(options) + len(payload)
        word = (_TCP_LENGTH + len(options)) // 4 << 12 | tcp_flags
        total = self._constant + length + seq + ack + word + _sum(options) + _sum(payload)
        checksum = _ONES - (total % _ONES or _ONES)
        tcp = _TCP.pack(seq, ack, word, _WINDOW, checksum, 0)
        return b"".join((self._before(length), tcp, options, payload))

    def _before(self, length: int) -> bytes:
        if not self._is_ipv4:
            return _IPV6.pack(self._head, length, self._tail)
        size = _IPV4_LENGTH + length
        checksum = _ONES - ((self._ipv4_sum + size) % _ONES or _ONES)
        return _IPV4.pack(self._head, size, self._middle, checksum, self._tail)


def _sum(data: bytes) -> int:
    """The Internet checksum's sum (RFC 1071), of data padded to 16-bit words.

    2**16 is 1 modulo 65535, so a big-endian number is congruent to the sum of its words: one
    division instead of a loop.
    """
    number = int.from_bytes(data, "big")
    return (number << 8 if len(data) & 1 else number) % _ONES


def _template(source: Place, destination: Place) -> bytes:
    tcp = dpkt.tcp.TCP(sport=source.port, dport=destination.port)
    ip: Any
    if len(source.address) == _IPV4_BYTES:
        # RFC 6864 4.1: what is never fragmented (DF) needs no identification.
        ip = dpkt.ip.IP(
            src=source.address, dst=destination.address, p=_TCP_PROTOCOL, ttl=_TTL, data=tcp
        )
        ip.df = 1
        kind = dpkt.ethernet.ETH_TYPE_IP
    else:
        ip = dpkt.ip6.IP6(
            src=source.address, dst=destination.address, nxt=_TCP_PROTOCOL, hlim=_TTL, data=tcp
        )
        ip.extension_hdrs = {}
        kind = dpkt.ethernet.ETH_TYPE_IP6
    frame = dpkt.ethernet.Ethernet(
        src=_mac(source.address), dst=_mac(destination.address), type=kind, data=ip
    )
    return bytes(frame)


def _mac(address: bytes) -> bytes:
    # One address, one card: Wireshark's endpoint lists then agree on both layers.
    return _MAC_PREFIX + (zlib.crc32(address) & 0xFFFFFF).to_bytes(3, "big")
