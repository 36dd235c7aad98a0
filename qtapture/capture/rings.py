"""Perf rings of one name, one for each CPU: opened, drained in bulk, asked for their losses.

Rule 1: bytes are copied as they are, cut at record boundaries; nothing looks at a sample.
Rule 2: data_head of a perf ring covers finished records alone, hence bulk copies are safe
        (a BPF ring buffer's does not).
"""

import ctypes
import mmap
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from qtapture.capture.bpf import Map

__all__ = [
    "Ring",
    "counts_losses",
    "online_cpus",
    "open_mapping_ring",
    "open_ring",
    "perf_event_open",
    "ring_pages",
]

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}[platform.machine()]
_IOC_ENABLE = 0x2400

# include/uapi/linux/perf_event.h
_TYPE_SOFTWARE = 1
_SW_BPF_OUTPUT = 10
_SW_DUMMY = 9
_SAMPLE_RAW = 1 << 10
_FORMAT_LOST = 1 << 4
_CLOEXEC = 8
_FLAG_MMAP = 1 << 8
_FLAG_WATERMARK = 1 << 14
_FLAG_MMAP2 = 1 << 23
_ATTR_SIZE = 128  # PERF_ATTR_SIZE_VER7
_HEAD_AT, _TAIL_AT = 0x400, 0x408  # data_head, data_tail in struct perf_event_mmap_page
_RECORD = struct.Struct("<IHH")
# One copy: large enough to be cheap, small enough that the kernel gets room back early.
_LARGEST_COPY = 1 << 20
# A reader that sleeps is woken when so much of a ring is full; the rest is for its reaction.
_WATERMARK_SHARE = 4


@dataclass(slots=True)
class Ring:
    """One CPU's ring. ``lost_known``: the kernel counts what did not fit (Linux 6.0)."""

    cpu: int
    descriptor: int
    memory: mmap.mmap
    size: int  # of the data part, a power of two
    lost_known: bool

    @property
    def pending(self) -> int:
        """Bytes written and not yet taken."""
        head, tail = struct.unpack_from("<QQ", self.memory, _HEAD_AT)
        return int(head - tail)

    def iter_copies(self) -> Iterator[bytes]:
        """Whole records in copies of up to 1 MiB, up to the head as it was at the start.

        Room is given back to the kernel when the next copy is asked for: whoever stops in
        between loses nothing.
        """
        head, tail = struct.unpack_from("<QQ", self.memory, _HEAD_AT)
        while tail < head:
            end = self._boundary(tail, head)
            yield self._copy(tail, end)
            tail = end
            struct.pack_into("<Q", self.memory, _TAIL_AT, tail)

    def lost(self) -> int:
        """Samples that the kernel could not write, since the ring was opened; 0 if unknown."""
        if not self.lost_known:
            return 0
        _value, lost = struct.unpack("<QQ", os.read(self.descriptor, 16))  # PERF_FORMAT_LOST
        return int(lost)

    def close(self) -> None:
        """Unmap and close."""
        self.memory.close()
        os.close(self.descriptor)

    def _boundary(self, tail: int, head: int) -> int:
        """The end of the last whole record within one copy from ``tail``."""
        if head - tail <= _LARGEST_COPY:
            return head
        at = tail
        while True:
            # Records are aligned to 8 bytes, so a head never wraps.
            place = mmap.PAGESIZE + (at & (self.size - 1))
            size = _RECORD.unpack_from(self.memory, place)[2]
            if size < _RECORD.size or at + size - tail > _LARGEST_COPY:
                return at if at > tail else head
            at += size

    def _copy(self, tail: int, end: int) -> bytes:
        first = tail & (self.size - 1)
        length = end - tail
        base = mmap.PAGESIZE
        if first + length <= self.size:
            return self.memory[base + first : base + first + length]
        wrapped = first + length - self.size
        return self.memory[base + first : base + self.size] + self.memory[base : base + wrapped]


def open_ring(table: Map, cpu: int, pages: int, *, each: bool = False, losses: bool = True) -> Ring:
    """The ring of one CPU, put into a perf event array.

    ``each``: every sample wakes its reader. ``losses``: ask the kernel to count what did not fit.

    Raises:
        OSError: EPERM where memory may not be locked, ENODEV where the CPU is offline.
    """
    flags = _FLAG_WATERMARK
    descriptor, lost_known = _open_output(
        cpu, flags, 1 if each else pages * mmap.PAGESIZE // _WATERMARK_SHARE, losses=losses
    )
    ring = _mapped(descriptor, cpu, pages, lost_known=lost_known)
    table.set(struct.pack("<I", cpu), struct.pack("<I", descriptor))
    _libc.ioctl(descriptor, _IOC_ENABLE, 0)
    return ring


def open_mapping_ring(cpu: int, pages: int) -> Ring:
    """A ring that tells of every executable mapping made on one CPU (PERF_RECORD_MMAP2).

    Raises:
        OSError: as `open_ring`.
    """
    flags = _FLAG_MMAP | _FLAG_MMAP2 | _FLAG_WATERMARK
    attributes = _attributes(_SW_DUMMY, flags, watermark=1)
    return _mapped(perf_event_open(attributes, cpu), cpu, pages, lost_known=False)


def online_cpus() -> list[int]:
    """Numbers of the CPUs that run now."""
    with open("/sys/devices/system/cpu/online", encoding="ascii") as file:  # noqa: PTH123
        parts = file.read().strip().split(",")
    numbers: list[int] = []
    for part in parts:
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def counts_losses() -> bool:
    """Whether rings of this kernel count what did not fit (PERF_FORMAT_LOST)."""
    try:
        descriptor, known = _open_output(online_cpus()[0], 0, 1, losses=True)
    except OSError:
        return False
    os.close(descriptor)
    return known


def ring_pages(budget: int) -> int:
    """Pages of a ring that fits into ``budget`` bytes: a power of two, at least eight."""
    pages = 8
    while (pages * 2) * mmap.PAGESIZE <= budget:
        pages *= 2
    return pages


def _mapped(descriptor: int, cpu: int, pages: int, *, lost_known: bool) -> Ring:
    try:
        memory = mmap.mmap(descriptor, (pages + 1) * mmap.PAGESIZE)
    except OSError:
        os.close(descriptor)
        raise
    size = pages * mmap.PAGESIZE
    return Ring(cpu=cpu, descriptor=descriptor, memory=memory, size=size, lost_known=lost_known)


def _open_output(cpu: int, flags: int, watermark: int, *, losses: bool) -> tuple[int, bool]:
    """The event, and whether it counts losses: found by asking for it."""
    for read_format in (_FORMAT_LOST, 0) if losses else (0,):
        attributes = _attributes(
            _SW_BPF_OUTPUT,
            flags,
            watermark=watermark,
            sample_type=_SAMPLE_RAW,
            read_format=read_format,
        )
        try:
            return perf_event_open(attributes, cpu), bool(read_format)
        except OSError:
            if not read_format:
                raise
    raise AssertionError


def _attributes(
    config: int, flags: int, *, watermark: int, sample_type: int = 0, read_format: int = 0
) -> bytes:
    # struct perf_event_attr: type, size, config, sample_period, sample_type, read_format,
    # flags, wakeup_watermark
    head = struct.pack(
        "<IIQQQQQI",
        *(_TYPE_SOFTWARE, _ATTR_SIZE, config, 1, sample_type, read_format, flags, watermark),
    )
    return head.ljust(_ATTR_SIZE, b"\0")


def perf_event_open(attributes: bytes, cpu: int) -> int:
    """Open a perf event for every process, on one CPU.

    Raises:
        OSError: the kernel's reason.
    """
    block = ctypes.create_string_buffer(attributes, _ATTR_SIZE)
    descriptor: int = _libc.syscall(_SYS_PERF_EVENT_OPEN, block, -1, cpu, -1, _CLOEXEC)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor
