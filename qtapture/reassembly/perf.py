"""The perf ring's own framing around samples (formats/samples.md 2).

Rule 1: nothing here raises; what is not a record ends its slice, for nothing says where the
next one begins.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["LostMark", "iter_perf"]

_PERF_HEAD = struct.Struct("<IHH")
_PERF_LOST = struct.Struct("<QQ")
_PERF_RECORD_LOST = 2  # include/uapi/linux/perf_event.h
_PERF_RECORD_SAMPLE = 9
_LENGTH = struct.Struct("<I")


class LostMark(NamedTuple):
    """PERF_RECORD_LOST: samples that found no room in this ring just before."""

    lost: int


def iter_perf(data: bytes | memoryview) -> Iterator[bytes | LostMark | None]:
    """The samples and marks in a slice; None for what is not a record, which ends the slice."""
    view = memoryview(data).cast("B")
    position = 0
    while position + _PERF_HEAD.size <= len(view):
        kind, _, size = _PERF_HEAD.unpack_from(view, position)
        if size < _PERF_HEAD.size or position + size > len(view):
            yield None
            return
        body = view[position + _PERF_HEAD.size : position + size]
        if kind == _PERF_RECORD_SAMPLE:
            yield _raw_of(body)
        elif kind == _PERF_RECORD_LOST and len(body) >= _PERF_LOST.size:
            yield LostMark(_PERF_LOST.unpack_from(body)[1])
        position += size
    if position != len(view):
        yield None


def _raw_of(body: memoryview) -> bytes | None:
    """PERF_SAMPLE_RAW: a length, then the bytes and the ring's padding."""
    if len(body) < _LENGTH.size:
        return None
    length = _LENGTH.unpack_from(body)[0]
    if length > len(body) - _LENGTH.size:
        return None
    return bytes(body[_LENGTH.size : _LENGTH.size + length])
