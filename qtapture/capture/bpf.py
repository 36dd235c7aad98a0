"""The bpf(2) system call, as far as it is used: maps by descriptor, and links.

ctypes, because no library of Python's offers these without a loader around them.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Sequence

__all__ = [
    "EXPECT_UPROBE_MULTI",
    "Map",
    "RefusedError",
    "attach_perf_event",
    "attach_raw_tracepoint",
    "attach_uprobe_multi",
    "enable_run_times",
    "load_program",
    "possible_cpus",
    "run_times",
    "runs_skipped",
]

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]

# enum bpf_cmd, include/uapi/linux/bpf.h
_LOOKUP, _UPDATE, _DELETE, _NEXT_KEY = 1, 2, 3, 4
_PROG_LOAD = 5
_RAW_TRACEPOINT_OPEN = 17
_OBJ_GET_INFO_BY_FD = 15
_LINK_CREATE = 28
_ENABLE_STATS = 32
_INFO_SIZE = 232  # struct bpf_prog_info
_RUN_TIME_AT = 192  # run_time_ns, run_cnt, recursion_misses

EXPECT_UPROBE_MULTI = 48  # BPF_TRACE_UPROBE_MULTI
_PERF_EVENT = 41  # BPF_PERF_EVENT
_LOG_SIZE = 4096  # of tiny programs
_UPROBE_MULTI_RETURN = 1
_ATTR_SIZE = 144  # union bpf_attr of any kernel that has uprobe_multi; zeros are ignored


class RefusedError(OSError):
    """The verifier refused a program; ``log`` is its reason."""

    def __init__(self, error: OSError, log: str) -> None:
        super().__init__(error.errno, error.strerror)
        self.log = log


class Map:
    """One map of known sizes. ``value_size`` is that of one CPU in a per-CPU map."""

    def __init__(
        self, descriptor: int, key_size: int, value_size: int, *, per_cpu: bool = False
    ) -> None:
        self.descriptor = descriptor
        self._key_size = key_size
        # Per-CPU values are each rounded up to 8 bytes, for every possible CPU.
        self._stride = (value_size + 7) & ~7
        self._size = self._stride * possible_cpus() if per_cpu else value_size
        self._value_size = value_size
        self._per_cpu = per_cpu

    def maybe_get(self, key: bytes) -> bytes | None:
        """The value, None where there is none; a per-CPU map gives those of all CPUs."""
        value = ctypes.create_string_buffer(self._size)
        if self._call(_LOOKUP, key, value) is None:
            return None
        return value.raw

    def per_cpu(self, key: bytes) -> list[bytes]:
        """The values of all possible CPUs."""
        raw = self.maybe_get(key) or b""
        return [raw[at : at + self._value_size] for at in range(0, len(raw), self._stride)]

    def set(self, key: bytes, value: bytes) -> None:
        """Put a value in, in place of an older one.

        Raises:
            OSError: E2BIG where the map is full.
        """
        self._call(_UPDATE, key, ctypes.create_string_buffer(value, self._size))

    def discard(self, key: bytes) -> None:
        """Take a key out, if it is in."""
        self._call(_DELETE, key, None)

    def iter_keys(self) -> Iterator[bytes]:
        """All keys, as they are at some moment while this runs."""
        key: bytes | None = None
        found = ctypes.create_string_buffer(self._key_size)
        while self._call(_NEXT_KEY, key, found) is not None:
            key = found.raw
            yield key

    def _call(
        self, command: int, key: bytes | None, value: "ctypes.Array[ctypes.c_char] | None"
    ) -> int | None:
        buffer = None if key is None else ctypes.create_string_buffer(key, self._key_size)
        attributes = struct.pack("<I4xQQQ", self.descriptor, _address(buffer), _address(value), 0)
        return _bpf(command, attributes, none_when=errno.ENOENT)


def load_program(kind: int, instructions: bytes, *, expected: int = 0) -> int:
    """Load a program of a few instructions, to see whether the kernel takes it.

    Raises:
        RefusedError: it does not.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_ = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(_LOG_SIZE)
    # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version,
    # prog_flags, prog_name, prog_ifindex, expected_attach_type
    attributes = struct.pack(
        "<IIQQIIQII16sII",
        *(kind, len(instructions) // 8, _address(code), _address(license_)),
        *(1, _LOG_SIZE, _address(log), 0, 0, b"", 0, expected),
    )
    try:
        return _must(_bpf(_PROG_LOAD, attributes))
    except OSError as error:
        raise RefusedError(error, log.value.decode("utf-8", "replace")) from None


def attach_perf_event(program: int, event: int, cookie: int) -> int:
    """A link that runs the program when a perf event fires (Linux 5.15).

    Raises:
        OSError: EINVAL where the kernel has no such link.
    """
    return _must(_bpf(_LINK_CREATE, struct.pack("<IIIIQ", program, event, _PERF_EVENT, 0, cookie)))


def attach_raw_tracepoint(program: int, name: str) -> int:
    """A link that runs the program at a tracepoint; it ends when the descriptor is closed.

    Raises:
        OSError: ENOENT where this kernel has no such tracepoint.
    """
    text = ctypes.create_string_buffer(name.encode())
    return _must(_bpf(_RAW_TRACEPOINT_OPEN, struct.pack("<QI4x", _address(text), program)))


def attach_uprobe_multi(
    program: int, path: str, offsets: Sequence[int], cookie: int, *, at_return: bool = False
) -> int:
    """A link that runs the program at file offsets of one inode, in every process that maps it.

    Raises:
        OSError: EINVAL where an offset cannot be probed, or the kernel has no such link.
    """
    name = ctypes.create_string_buffer(os.fsencode(path))
    places = (ctypes.c_uint64 * len(offsets))(*offsets)
    cookies = (ctypes.c_uint64 * len(offsets))(*([cookie] * len(offsets)))
    # struct link_create { prog_fd, target_fd, attach_type, flags;
    #   struct uprobe_multi { path, offsets, ref_ctr_offsets, cookies; cnt, flags, pid } }
    attributes = struct.pack(
        "<IIIIQQQQIII4x",
        *(program, 0, EXPECT_UPROBE_MULTI, 0),
        *(_address(name), ctypes.addressof(places), 0, ctypes.addressof(cookies)),
        *(len(offsets), _UPROBE_MULTI_RETURN if at_return else 0, 0),
    )
    return _must(_bpf(_LINK_CREATE, attributes))


def enable_run_times() -> int:
    """Let the kernel measure programs until the descriptor is closed (Linux 5.8).

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN.
    """
    return _must(_bpf(_ENABLE_STATS, struct.pack("<I", 0)))  # BPF_STATS_RUN_TIME


def run_times(program: int) -> tuple[int, int]:
    """Nanoseconds that a program has run, and how often, while that was measured."""
    time_ns, runs, _ = _run_counts(program)
    return time_ns, runs


def runs_skipped(program: int) -> int:
    """How often the kernel did not run a program because it ran already (Linux 5.12)."""
    return _run_counts(program)[2]


def _run_counts(program: int) -> tuple[int, int, int]:
    info = ctypes.create_string_buffer(_INFO_SIZE)
    _bpf(_OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", program, _INFO_SIZE, _address(info)))
    time_ns, runs, skipped = struct.unpack_from("<QQQ", info, _RUN_TIME_AT)
    return time_ns, runs, skipped


def possible_cpus() -> int:
    """How many CPUs the kernel may ever have: what per-CPU maps are sized by."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:  # noqa: PTH123
        last = file.read().strip().replace(",", "-").rpartition("-")[2]
    return int(last) + 1


def _address(buffer: "ctypes.Array[ctypes.c_char] | None") -> int:
    return 0 if buffer is None else ctypes.addressof(buffer)


def _bpf(command: int, attributes: bytes, *, none_when: int | None = None) -> int | None:
    block = ctypes.create_string_buffer(attributes, _ATTR_SIZE)
    result: int = _libc.syscall(_SYS_BPF, command, block, _ATTR_SIZE)
    if result >= 0:
        return result
    number = ctypes.get_errno()
    if number == none_when:
        return None
    raise OSError(number, os.strerror(number))


def _must(result: int | None) -> int:
    if result is None:  # only calls that name an errno can give None
        raise AssertionError
    return result
