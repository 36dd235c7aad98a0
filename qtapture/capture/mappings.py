"""Which files processes execute: /proc/PID/maps, and the kernel's news of later mappings."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = [
    "FileKey",
    "MappedFile",
    "iter_mapping_records",
    "iter_mappings",
    "iter_pids",
    "maybe_open",
    "start_ticks",
]

FileKey = tuple[int, int]  # device as the kernel has it, inode

_RECORD = struct.Struct("<IHH")
_MMAP2 = struct.Struct("<IIQQQIIQQII")  # pid ... flags; the file's name follows
_PERF_RECORD_MMAP2 = 10
_BUILD_ID_MISC = 1 << 14  # PERF_RECORD_MISC_MMAP_BUILD_ID: no inode in the record
_MINOR_BITS = 20  # MKDEV of the kernel
_STAT_START_TIME = 19  # in /proc/PID/stat, counted after the name in parentheses


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedFile:
    """One executable mapping of a file in one process."""

    pid: int
    start: int
    end: int
    key: FileKey
    path: str  # as that process names it


def iter_pids() -> Iterator[int]:
    """Every process of this host, in the order of /proc."""
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)


def iter_mappings(pid: int) -> Iterator[MappedFile]:
    """Executable file mappings of a process; nothing of one that is gone."""
    try:
        text = Path(f"/proc/{pid}/maps").read_text("utf-8", "surrogateescape")
    except OSError:
        return  # it has ended, or is a kernel thread
    for line in text.split("\n"):
        fields = line.split(None, 5)
        if len(fields) == 6 and "x" in fields[1] and fields[4] != "0":  # noqa: PLR2004
            start, _, end = fields[0].partition("-")
            major, _, minor = fields[3].partition(":")
            device = int(major, 16) << _MINOR_BITS | int(minor, 16)
            yield MappedFile(
                pid=pid,
                start=int(start, 16),
                end=int(end, 16),
                key=(device, int(fields[4])),
                path=fields[5],
            )


def iter_mapping_records(data: bytes) -> Iterator[MappedFile]:
    """Executable file mappings in perf records (PERF_RECORD_MMAP2), in their order."""
    at = 0
    while at + _RECORD.size <= len(data):
        kind, misc, size = _RECORD.unpack_from(data, at)
        if size < _RECORD.size:
            return
        if kind == _PERF_RECORD_MMAP2 and size >= _RECORD.size + _MMAP2.size:
            fields = _MMAP2.unpack_from(data, at + _RECORD.size)
            pid, start, length, major, minor, inode = (*fields[0:1], *fields[2:4], *fields[5:8])
            name = data[at + _RECORD.size + _MMAP2.size : at + size].split(b"\0", 1)[0]
            if inode and not misc & _BUILD_ID_MISC:
                yield MappedFile(
                    pid=pid,
                    start=start,
                    end=start + length,
                    key=(major << _MINOR_BITS | minor, inode),
                    path=os.fsdecode(name),
                )
        at += size


def maybe_open(found: MappedFile) -> IO[bytes] | None:
    """The very file that is mapped, deleted or replaced since or not; None where it is gone.

    map_files gives the inode itself (CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE); the path in the
    process's own root serves where the mapping has gone, if it is still the same file.
    """
    place = f"/proc/{found.pid}/map_files/{found.start:x}-{found.end:x}"
    for path in (place, f"/proc/{found.pid}/root{found.path}", found.path):
        try:
            file = open(path, "rb")  # noqa: SIM115, PTH123 - handed to the caller
        except OSError:
            continue
        if path == place or os.fstat(file.fileno()).st_ino == found.key[1]:
            return file
        file.close()
    return None


def start_ticks(pid: int) -> int:
    """Start time of a process in 10 ms ticks of boot time, 0 if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    # The name may hold blanks and parentheses.
    return int(stat.rpartition(b")")[2].split()[_STAT_START_TIME])
