"""Executable mappings: of /proc and of the kernel's news."""

import ctypes
import mmap
import os
import struct
from pathlib import Path

from qtapture.capture.mappings import (
    MappedFile,
    iter_mapping_records,
    iter_mappings,
    maybe_open,
    start_ticks,
)


def mmap2(pid: int, *, inode: int, name: bytes, major: int = 8, minor: int = 1) -> bytes:
    """PERF_RECORD_MMAP2 of one executable mapping."""
    body = struct.pack("<IIQQQIIQQII", pid, pid, 0x7F0000, 0x1000, 0, major, minor, inode, 0, 5, 2)
    name += b"\0" * (8 - len(name) % 8)
    return struct.pack("<IHH", 10, 0, 8 + len(body) + len(name)) + body + name


def test_our_own_mappings_name_the_library_that_we_loaded() -> None:
    ctypes.CDLL("libssl.so.3")
    found = [m for m in iter_mappings(os.getpid()) if "libssl" in m.path]
    assert found
    assert found[0].key[1] == Path(found[0].path).stat().st_ino


def test_a_process_that_is_gone_maps_nothing() -> None:
    assert list(iter_mappings(2**22 + 1)) == []
    assert start_ticks(2**22 + 1) == 0


def test_the_mapped_inode_is_opened_though_its_path_now_names_another(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(b"old".ljust(mmap.PAGESIZE, b"\0"))
    with path.open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    path.unlink()
    path.write_bytes(b"new")
    found = next(m for m in iter_mappings(os.getpid()) if str(path) in m.path)
    with maybe_open(found) as opened:
        assert opened.read(3) == b"old"
    held.close()


def test_records_of_mappings_are_told_apart_from_others() -> None:
    other = struct.pack("<IHH", 3, 0, 16) + bytes(8)
    data = mmap2(7, inode=99, name=b"/lib/a.so") + other + mmap2(8, inode=98, name=b"/lib/bb.so")
    assert list(iter_mapping_records(data)) == [
        MappedFile(pid=7, start=0x7F0000, end=0x7F1000, key=(8 << 20 | 1, 99), path="/lib/a.so"),
        MappedFile(pid=8, start=0x7F0000, end=0x7F1000, key=(8 << 20 | 1, 98), path="/lib/bb.so"),
    ]


def test_anonymous_memory_is_no_file() -> None:
    assert list(iter_mapping_records(mmap2(7, inode=0, name=b"//anon"))) == []


def test_a_record_cut_short_ends_the_list() -> None:
    assert list(iter_mapping_records(b"\x0a\0\0\0\0\0\0\0" + bytes(64))) == []
