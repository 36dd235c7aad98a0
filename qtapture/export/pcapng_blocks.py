"""The bytes of pcapng blocks (draft-ietf-opsawg-pcapng), little-endian, as pure functions.

Our own writer, since no library for Python writes interface statistics and option 8
(process and thread) together with nanosecond times, and none keeps up with a capture.
"""

import struct
from collections.abc import Iterable

__all__ = [
    "INBOUND",
    "OUTBOUND",
    "SNAPLEN",
    "clipped",
    "comment",
    "drop_count",
    "enhanced_packet",
    "flags",
    "interface_description",
    "interface_statistics",
    "packet_id",
    "process_thread",
    "section_header",
]

# tshark and libpcap refuse anything larger for Ethernet; libpcap wants it equal everywhere.
SNAPLEN = 262_144
LINKTYPE_ETHERNET = 1
# epb_flags_word, bits 0-1: the direction as seen from the host (section 4.3.1).
INBOUND = 1
OUTBOUND = 2

# Option lengths are 16-bit; far less is readable, and a hostile argv must not swell the file.
_TEXT_LIMIT = 8_192

_NANOSECONDS = b"\x09"  # if_tsresol: 10^-9
_END_OF_OPTIONS = b"\0\0\0\0"
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

_SECTION = struct.Struct("<IIIHHq")
_INTERFACE = struct.Struct("<IIHHI")
_PACKET = struct.Struct("<IIIIIII")
_STATISTICS = struct.Struct("<IIIII")
_OPTION = struct.Struct("<HH")
_OPTION_U32 = struct.Struct("<HHI")
_OPTION_U64 = struct.Struct("<HHQ")
_OPTION_PAIR = struct.Struct("<HHII")
_U32 = struct.Struct("<I")


def clipped(text: str, limit: int = _TEXT_LIMIT) -> bytes:
    """UTF-8 of at most ``limit`` bytes, without control characters or lone surrogates.

    Readers print these texts on terminals; names of processes come from whoever ran them.
    """
    clean = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:limit])
    data = clean.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data
    return data[: limit - 3].decode("utf-8", "ignore").encode() + b"..."


def _option(code: int, value: bytes) -> bytes:
    return _OPTION.pack(code, len(value)) + value + _PADDING[len(value) & 3]


def _text_option(code: int, text: str) -> bytes:
    return _option(code, clipped(text)) if text else b""


def comment(text: str) -> bytes:
    """opt_comment, for any block."""
    return _text_option(1, text)


def flags(direction: int) -> bytes:
    """epb_flags with `INBOUND` or `OUTBOUND`."""
    return _OPTION_U32.pack(2, 4, direction)


def drop_count(packets: int) -> bytes:
    """epb_dropcount: lost between this packet and the one before."""
    return _OPTION_U64.pack(4, 8, packets)


def packet_id(number: int) -> bytes:
    """epb_packetid."""
    return _OPTION_U64.pack(5, 8, number)


def process_thread(pid: int, tid: int) -> bytes:
    """epb_processid_threadid, option 8."""
    return _OPTION_PAIR.pack(8, 8, pid, tid)


def _ended(options: bytes) -> bytes:
    return options + _END_OF_OPTIONS if options else b""


def section_header(
    comments: Iterable[str], *, hardware: str, system: str, application: str
) -> bytes:
    """A section of unknown length (-1), as it is written in one pass."""
    options = b"".join(
        [
            *map(comment, comments),
            _text_option(2, hardware),
            _text_option(3, system),
            _text_option(4, application),
        ]
    )
    body = _ended(options)
    total = _SECTION.size + len(body) + 4
    head = _SECTION.pack(0x0A0D0D0A, total, 0x1A2B3C4D, 1, 0, -1)
    return head + body + _U32.pack(total)


def interface_description(*, name: str, description: str, system: str) -> bytes:
    """An Ethernet interface with nanosecond times."""
    options = b"".join(
        [
            _text_option(2, name),
            _text_option(3, description),
            _option(9, _NANOSECONDS),
            _text_option(12, system),
        ]
    )
    body = _ended(options)
    total = _INTERFACE.size + len(body) + 4
    head = _INTERFACE.pack(1, total, LINKTYPE_ETHERNET, 0, SNAPLEN)
    return head + body + _U32.pack(total)


def enhanced_packet(interface: int, realtime_ns: int, packet: bytes, options: bytes) -> bytes:
    """One packet, whole. ``options`` are concatenated options without their end."""
    length = len(packet)
    body = _ended(options)
    total = _PACKET.size + length + len(_PADDING[length & 3]) + len(body) + 4
    high, low = realtime_ns >> 32 & 0xFFFFFFFF, realtime_ns & 0xFFFFFFFF
    head = _PACKET.pack(6, total, interface, high, low, length, length)
    return b"".join((head, packet, _PADDING[length & 3], body, _U32.pack(total)))


def interface_statistics(
    interface: int,
    *,
    start_ns: int,
    end_ns: int,
    received: int,
    dropped: tuple[int, int] | None = None,
    remark: str = "",
) -> bytes:
    """What one interface received, and lost: ``dropped`` is (skipped, lost by the ring)."""
    options = [comment(remark), _time_option(2, start_ns), _time_option(3, end_ns)]
    options.append(_OPTION_U64.pack(4, 8, received))
    if dropped is not None:
        skipped, lost = dropped
        options += [_OPTION_U64.pack(5, 8, skipped), _OPTION_U64.pack(7, 8, lost)]
    body = _ended(b"".join(options))
    total = _STATISTICS.size + len(body) + 4
    high, low = end_ns >> 32 & 0xFFFFFFFF, end_ns & 0xFFFFFFFF
    return _STATISTICS.pack(5, total, interface, high, low) + body + _U32.pack(total)


def _time_option(code: int, realtime_ns: int) -> bytes:
    # isb_starttime and isb_endtime are two words, the high one first, as in the EPB.
    return _OPTION_PAIR.pack(code, 8, realtime_ns >> 32 & 0xFFFFFFFF, realtime_ns & 0xFFFFFFFF)
