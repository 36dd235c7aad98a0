"""What this kernel can do, found by trying each thing; never by its version.

`choose_means` is pure: a choice out of facts and wishes.
"""

import contextlib
import errno
import os
import resource
from dataclasses import dataclass, replace
from enum import IntFlag

from qtapture.capture.bpf import (
    EXPECT_UPROBE_MULTI,
    RefusedError,
    attach_raw_tracepoint,
    attach_uprobe_multi,
    load_program,
)
from qtapture.capture.rings import counts_losses
from qtapture.errors import HostError, UsageError

__all__ = ["ATTACHES", "HOOKS", "LOADERS", "SITES", "WISHES", "Features", "Means", "Without"]
__all__ += ["choose_means", "detect_features"]

LOADERS = ("auto", "bcc", "core")
HOOKS = ("auto", "socklen", "syscalls")
ATTACHES = ("auto", "multi", "perf")
SITES = ("auto", "exported")

# include/uapi/linux/bpf.h: program types and helpers
_KPROBE, _RAW_TRACEPOINT = 2, 17
_GET_ATTACH_COOKIE, _TASK_PT_REGS = 174, 175
# Instructions, as struct bpf_insn in bytes.
_RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")
# r1 = 0; *(u64 *)(r10 - 8) = r1; r0 = 0; lock cmpxchg(r10 - 8, r0, r1)
_CMPXCHG = bytes.fromhex("b7010000000000007b1af8ff00000000b700000000000000db1af8fff1000000")


class Without(IntFlag):
    """``QT_WITHOUT`` of bpf/dialect.h: what the kernel side must do without."""

    COOKIE = 1
    ATOMICS = 2


NOTHING = Without(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What was tried, and worked."""

    uprobe_multi: bool = True  # Linux 6.6
    socklen: bool = True  # sock_send_length and the registers of a call, 6.3
    cookie: bool = True  # 5.15
    atomics: bool = True  # with a result, 5.12
    ring_losses: bool = True  # PERF_FORMAT_LOST, 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """How one recording gets at things. ``loader`` may still be auto: it is tried in order."""

    loader: str = "auto"
    attach: str = "multi"
    hooks: str = "socklen"
    sites: str = "auto"
    without: Without = NOTHING
    ring_losses: bool = True


WISHES = Means(attach="auto", hooks="auto")  # whatever is best


def detect_features() -> Features:
    """Try everything; takes a millisecond or two.

    Raises:
        HostError: not even the simplest program may be loaded.
    """
    _lift_memory_limit()
    try:
        os.close(load_program(_KPROBE, _RETURN_0))
    except OSError as error:
        raise HostError(_refusal(error)) from None
    return Features(
        uprobe_multi=_has_uprobe_multi(),
        socklen=_has_tracepoint("sock_send_length") and _has_helper(_TASK_PT_REGS),
        cookie=_has_helper(_GET_ATTACH_COOKIE),
        atomics=_loads(_CMPXCHG + _RETURN_0),
        ring_losses=counts_losses(),
    )


def _lift_memory_limit() -> None:
    """Before Linux 5.11 programs and maps count as locked memory of their user."""
    everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    # Not allowed without CAP_SYS_RESOURCE; then what the limit is may do.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, everything)


def choose_means(features: Features, wishes: Means, *, without: frozenset[str]) -> Means:
    """The best that there is, or what was asked for.

    ``without``: features by name that count as absent, to try what an older kernel does.

    Raises:
        UsageError: there is no such feature.
        HostError: what was asked for is not there.
    """
    for name in sorted(without):
        if name not in Features.__dataclass_fields__:
            known = ", ".join(Features.__dataclass_fields__)
            raise UsageError(f"no feature {name} (there are {known})")
    have = replace(features, **dict.fromkeys(without, False))
    attach = _chosen("--attach", wishes.attach, "multi", "perf", have=have.uprobe_multi)
    hooks = _chosen("--hooks", wishes.hooks, "socklen", "syscalls", have=have.socklen)
    lacking = Without(0)
    if not have.cookie:
        lacking |= Without.COOKIE
    if not have.atomics:
        lacking |= Without.ATOMICS
    return replace(
        wishes, attach=attach, hooks=hooks, without=lacking, ring_losses=have.ring_losses
    )


def _chosen(option: str, wish: str, best: str, other: str, *, have: bool) -> str:
    if wish == "auto":
        return best if have else other
    if wish == best and not have:
        raise HostError(f"{option} {best}: this kernel lacks it; {option} {other} works")
    return wish


def _refusal(error: OSError) -> str:
    if error.errno in {errno.EPERM, errno.EACCES}:
        return "the kernel refuses: root, or CAP_BPF, CAP_PERFMON and CAP_IPC_LOCK, are needed"
    return f"the kernel refuses even an empty program: {error.strerror}"


def _loads(instructions: bytes) -> bool:
    try:
        os.close(load_program(_KPROBE, instructions))
    except OSError:
        return False
    return True


def _has_helper(number: int) -> bool:
    """Whether the kernel knows a helper; called with no valid argument, it is refused either way.

    An unknown one is refused as such, in the words that libbpf looks for too.
    """
    call = b"\x85\x00\x00\x00" + number.to_bytes(4, "little")
    try:
        os.close(load_program(_KPROBE, call + _RETURN_0))
    except RefusedError as error:
        return "invalid func" not in error.log and "unknown func" not in error.log
    return True


def _has_tracepoint(name: str) -> bool:
    program = load_program(_RAW_TRACEPOINT, _RETURN_0)
    try:
        os.close(attach_raw_tracepoint(program, name))
    except OSError:
        return False
    finally:
        os.close(program)
    return True


def _has_uprobe_multi() -> bool:
    """A link on what is no regular file: a kernel that has such links says EBADF."""
    try:
        program = load_program(_KPROBE, _RETURN_0, expected=EXPECT_UPROBE_MULTI)
    except OSError:
        return False
    try:
        os.close(attach_uprobe_multi(program, "/", [0], 0))
    except OSError as error:
        return error.errno == errno.EBADF
    finally:
        os.close(program)
    return True
