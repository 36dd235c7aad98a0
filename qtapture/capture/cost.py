"""What a recording costs one process: measured on this host, with its own places and calls.

Two measurements: the price of a probe by itself, on code of our own whose first instruction the
kernel emulates, or steps over; and how often that process runs which program, over some seconds.
"""

import mmap
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any

from qtapture.capture.bpf import EXPECT_UPROBE_MULTI, enable_run_times, load_program, run_times
from qtapture.capture.features import WISHES, Means, choose_means, detect_features
from qtapture.capture.kernel_config import Scope
from qtapture.capture.probes import Probes
from qtapture.capture.programs import PROGRAMS
from qtapture.capture.uprobes import attach_uprobes
from qtapture.errors import HostError

__all__ = ["CallCost", "ProbePrice", "measure_calls", "measure_cost", "measure_price"]

# x86-64: a loop of rdi calls of a function whose first instruction is PUSH or SUB.
_LOOP = bytes.fromhex("e80600000048ffcf75f6c390")  # call +6; dec rdi; jne; ret; nop
_PUSH = bytes.fromhex("555dc3")  # push rbp; pop rbp; ret
_SUB = bytes.fromhex("4883ec084883c408c3")  # sub rsp, 8; add rsp, 8; ret
_KPROBE = 2
_RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")
_CALLS = 20_000  # 0.3 s at the worst price seen
_ROUNDS = 3
_SECONDS = 3.0
# Which family a program belongs to, by a part of its name.
_FAMILIES = {"ssl_read": "SSL_read", "ssl_write": "SSL_write", "bio_write": "BIO_write"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePrice:
    """Nanoseconds that an empty probe adds to one call, entry and return together."""

    emulated_ns: float
    stepped_ns: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCost:
    """One program in one process: runs in a second, and nanoseconds that one run takes."""

    program: str
    per_second: float
    run_ns: float


def measure_price(means: Means) -> ProbePrice:
    """The price of traps on this host; a second or less.

    Raises:
        HostError: probes cannot be attached, or there is no code for this machine.
    """
    if os.uname().machine != "x86_64":
        raise HostError("the price of a probe can be measured on x86-64 alone")
    expected = EXPECT_UPROBE_MULTI if means.attach == "multi" else 0
    try:
        program = load_program(_KPROBE, _RETURN_0, expected=expected)
        try:
            return ProbePrice(
                emulated_ns=_price(_PUSH, program, means.attach),
                stepped_ns=_price(_SUB, program, means.attach),
            )
        finally:
            os.close(program)
    except OSError as error:
        raise HostError(f"probes cannot be attached: {error.strerror}") from None


def measure_calls(means: Means, pid: int, seconds: float) -> list[CallCost]:
    """How often a process runs each program, over some seconds; nothing is written.

    Raises:
        HostError: this host cannot capture.
    """
    probes = Probes.load(means, memory=0, stop=False)
    try:
        probes.arm(Scope(pids=(pid,)), stop=False)
        statistics = _enable_run_times()
        before = _runs(probes.loaded.programs)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in probes.iter_drained():
                pass
            time.sleep(0.05)
        after = _runs(probes.loaded.programs)
        os.close(statistics)
        probes.detach()
    finally:
        probes.close()
    return list(_iter_costs(before, after, seconds))


def measure_cost(pid: int, sites: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Both measurements put together. ``sites``: of its libraries (formats/session.md).

    Raises:
        HostError: this host cannot capture.
    """
    means = choose_means(detect_features(), WISHES, without=frozenset())
    price = measure_price(means)
    rows = [
        {**asdict(call), "trap_ns": _trap_ns(call.program, price, sites)}
        for call in measure_calls(means, pid, _SECONDS)
    ]
    core = sum(row["per_second"] * (row["trap_ns"] + row["run_ns"]) for row in rows) / 1e9
    return {"pid": pid, "probe": asdict(price), "programs": rows, "core": core}


def _trap_ns(program: str, price: ProbePrice, sites: Mapping[str, Mapping[str, Any]]) -> float:
    """What getting into a program costs: nothing for a tracepoint, or for a return."""
    if PROGRAMS[program].kind != "uprobe" or program == "on_ssl_return":
        return 0.0  # the price of a probe is of both, and stands with the entry
    family = next((name for part, name in _FAMILIES.items() if part in program), "")
    cheap = bool(sites.get(family, {}).get("emulated"))
    return price.emulated_ns if cheap else price.stepped_ns


def _enable_run_times() -> int:
    try:
        return enable_run_times()
    except OSError as error:
        raise HostError(f"the kernel does not measure programs for us: {error.strerror}") from None


def _runs(programs: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    return {name: run_times(descriptor) for name, descriptor in programs.items()}


def _iter_costs(
    before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]], seconds: float
) -> Iterator[CallCost]:
    for name, (spent, runs) in after.items():
        count = runs - before[name][1]
        if count:
            run_ns = (spent - before[name][0]) / count
            yield CallCost(program=name, per_second=count / seconds, run_ns=run_ns)


def _price(function: bytes, program: int, attach: str) -> float:
    """Least of some rounds with the probe, less the least without."""
    # Not in a folder: /tmp may forbid execution.
    with open(os.memfd_create("price"), "w+b") as file:  # noqa: PTH123 - a descriptor
        file.write((_LOOP + function).ljust(mmap.PAGESIZE, b"\xcc"))
        file.flush()
        bare = min(_timed(file) for _ in range(_ROUNDS))
        links: list[int] = []
        path = f"/proc/self/fd/{file.fileno()}"
        for at_return in (True, False):
            links += attach_uprobes(attach, program, path, [len(_LOOP)], 0, at_return=at_return)
        probed = min(_timed(file) for _ in range(_ROUNDS))
        for link in links:
            os.close(link)
    return max(probed - bare, 0) * 1e9 / _CALLS


def _timed(file: IO[bytes]) -> float:
    """Seconds of the loop, in a child: the breakpoint is in its pages alone."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _run_and_tell(file, writer)
    os.close(writer)
    with open(reader, "rb") as told:  # noqa: PTH123 - a descriptor
        words = told.read()
    os.waitpid(child, 0)
    return float(words)


def _run_and_tell(file: IO[bytes], writer: int) -> None:
    import ctypes  # noqa: PLC0415 - in the child alone

    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *([ctypes.c_int] * 3), ctypes.c_long]
    # Not writable, or the kernel puts no breakpoint there; Python's mmap gives no address then.
    access = mmap.PROT_READ | mmap.PROT_EXEC
    address = libc.mmap(None, mmap.PAGESIZE, access, mmap.MAP_PRIVATE, file.fileno(), 0)
    loop = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(address)
    loop(100)
    began = time.perf_counter()
    loop(_CALLS)
    os.write(writer, repr(time.perf_counter() - began).encode())
    os._exit(0)
