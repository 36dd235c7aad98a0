"""Can this host record? Found by trying each thing, never by a version.

Rule 1: a check does what a recording would do, and undoes it.
Rule 2: what fails says what to do about it.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from qtapture.capture.bpf import attach_raw_tracepoint
from qtapture.capture.btf import field_offsets
from qtapture.capture.elf import read_elf
from qtapture.capture.features import WISHES, Means, choose_means, detect_features
from qtapture.capture.kernel_config import open_maps
from qtapture.capture.loader import Loaded, start_loading
from qtapture.capture.mappings import iter_mappings, maybe_open
from qtapture.capture.programs import programs_for
from qtapture.capture.rings import online_cpus, open_ring, ring_pages
from qtapture.capture.uprobes import attach_uprobes
from qtapture.errors import HostError
from qtapture.timebase import iso_utc, read_anchor

__all__ = ["HELPFUL_CAPABILITIES", "NEEDED_CAPABILITIES", "Check", "iter_checks"]

# Numbers of include/uapi/linux/capability.h, and what each is for.
NEEDED_CAPABILITIES: dict[str, tuple[int, str]] = {
    "CAP_BPF": (39, "to load programs and maps"),
    "CAP_PERFMON": (38, "to read memory from programs, to attach them and to open rings"),
    "CAP_IPC_LOCK": (14, "for rings past the limit of locked memory"),
}
# Without these the recording sees less of other users' processes.
HELPFUL_CAPABILITIES: dict[str, tuple[int, str]] = {
    "CAP_SYS_PTRACE": (19, "to see what other users' processes map and which sockets they hold"),
    "CAP_DAC_READ_SEARCH": (2, "to read files of other users"),
    "CAP_CHECKPOINT_RESTORE": (40, "to open libraries that were deleted or replaced since"),
    "CAP_KILL": (5, "to continue processes of COMMAND that changed their user"),
}
_CHECKPOINT_RESTORE, _SYS_ADMIN = 40, 21  # the latter includes the former
_LOADERS = "install python3-bpfcc or libbpf1 from the distribution, and run as root"
# Of features.Features: what each gives, and what is done without it.
_FEATURES: dict[str, tuple[str, str]] = {
    "uprobe_multi": (
        "all probes of a library are one link: stopping takes 30 ms",
        "perf events are used: each probe takes 0.1 s to take out (Linux 6.6 is better)",
    ),
    "socklen": (
        "socket calls are seen without a tax on others",
        "the end of every system call is looked at (Linux 6.3 is better)",
    ),
    "cookie": (
        "each call names its library",
        "a process with one library is taken to use that (Linux 5.15 is better)",
    ),
    "atomics": (
        "counters are exact on all CPUs",
        "threads that write to one socket at once may share an offset (Linux 5.12 is better)",
    ),
    "ring_losses": (
        "rings count what did not fit",
        "losses are counted by the probes alone (Linux 6.0 is better)",
    ),
}
_RING_MEMORY = 32 << 20  # of one CPU in a recording on two
_LEAST_SPACE = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was tried. ``needed``: without it there is no recording."""

    name: str
    good: bool
    detail: str
    advice: str = ""
    needed: bool = True


def iter_checks(folder: Path) -> Iterator[Check]:
    """All checks, each when it is asked for; ``folder`` is where a session would be written."""
    yield from _capabilities()
    yield _btf()
    yield _space(folder)
    yield _cgroups()
    yield _clock()
    try:
        means = choose_means(detect_features(), WISHES, without=frozenset())
    except HostError as error:
        yield Check(name="features", good=False, detail=str(error), advice="run as root")
        return
    yield from _features()
    # bcc last: what it loaded is what the rest is tried with, unless only core could.
    works: list[Loaded] = []
    for name in ("core", "bcc"):
        yield _loader(name, means, works)
    try:
        if works:
            yield from _tracepoints(works[-1], means)
            yield _uprobes(works[-1], means)
            yield _rings(works[-1])
        else:
            yield Check(name="loader", good=False, detail="neither loader works", advice=_LOADERS)
    finally:
        for loaded in works:
            loaded.close()


def _capabilities() -> Iterator[Check]:
    rows = (("capabilities", NEEDED_CAPABILITIES), ("more capabilities", HELPFUL_CAPABILITIES))
    for name, wanted in rows:
        missing = [each for each, (bit, _) in wanted.items() if not _has_capability(bit)]
        yield Check(
            name=name,
            good=not missing,
            detail=f"missing {', '.join(missing)}" if missing else ", ".join(wanted),
            advice="run as root, or give the process the missing capabilities",
            needed=wanted is NEEDED_CAPABILITIES,
        )


def _has_capability(bit: int) -> bool:
    status = Path("/proc/self/status").read_text("utf-8")
    effective = int(next(line for line in status.splitlines() if "CapEff" in line).split()[1], 16)
    implied = bit == _CHECKPOINT_RESTORE and effective >> _SYS_ADMIN & 1
    return bool(effective >> bit & 1 or implied)


def _btf() -> Check:
    try:
        offset = field_offsets([("task_struct", "start_boottime")])
    except HostError as error:
        return Check(
            name="btf", good=False, detail=str(error), advice="a kernel with CONFIG_DEBUG_INFO_BTF"
        )
    found = next(iter(offset.values())) >= 0
    return Check(name="btf", good=found, detail="/sys/kernel/btf/vmlinux is readable")


def _space(folder: Path) -> Check:
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    return Check(
        name="disk",
        good=free > _LEAST_SPACE,
        detail=f"{free >> 20} MiB free in {folder}",
        advice="write elsewhere with -o: a recording ends when less than 1 GiB is free",
        needed=False,
    )


def _cgroups() -> Check:
    unified = [root for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if _is_unified(root)]
    return Check(
        name="cgroups",
        good=bool(unified),
        detail=f"version 2 at {unified[0]}" if unified else "no version 2",
        advice="without cgroup v2 a process's cgroup is known from the snapshot alone",
        needed=False,
    )


def _is_unified(root: str) -> bool:
    return Path(root, "cgroup.controllers").exists()


def _clock() -> Check:
    anchor = read_anchor()
    return Check(
        name="clock",
        good=anchor.boottime_ns > 0,
        detail=f"boot time, {iso_utc(anchor.realtime_ns)} on the wall",
    )


def _features() -> Iterator[Check]:
    found = detect_features()
    for name, (good, otherwise) in _FEATURES.items():
        there = bool(getattr(found, name))
        yield Check(
            name=f"feature {name}",
            good=there,
            detail=good if there else "this kernel lacks it",
            advice=otherwise,
            needed=False,
        )


def _loader(name: str, means: Means, works: list[Loaded]) -> Check:
    try:
        loaded = start_loading(replace(means, loader=name)).result()
    except HostError as error:
        return Check(
            name=f"loader {name}", good=False, detail=str(error), advice=_LOADERS, needed=False
        )
    works.append(loaded)
    refused = [f"{name}: {log.strip()[-120:]}" for name, log in loaded.refused.items()]
    return Check(
        name=f"loader {name}",
        good=not refused,
        detail="; ".join(refused) or f"loaded {len(loaded.programs)} programs",
        advice="what was refused is not recorded; the log names the reason",
    )


def _tracepoints(loaded: Loaded, means: Means) -> Iterator[Check]:
    for name, program in programs_for(means.hooks).items():
        if program.tracepoint and name in loaded.programs:
            attach = partial(attach_raw_tracepoint, loaded.programs[name], program.tracepoint)
            yield _tried(f"tracepoint {program.tracepoint}", attach, "this kernel lacks it")


def _uprobes(loaded: Loaded, means: Means) -> Check:
    """A probe on the dynamic linker that this very process has mapped."""
    name = f"uprobes {means.attach}"
    for found in iter_mappings(os.getpid()):
        file = maybe_open(found)
        if file is None:
            continue
        with file:
            offset = read_elf(file, ["_dl_debug_state"]).functions.get("_dl_debug_state")
            if offset is not None and "on_link_map" in loaded.programs:
                path = f"/proc/self/fd/{file.fileno()}"
                program = loaded.programs["on_link_map"]
                attach = partial(
                    attach_uprobes, means.attach, program, path, [offset], 0, at_return=False
                )
                return _tried(
                    name, attach, "this kernel was built without uprobes, or forbids them"
                )
    return Check(name=name, good=False, detail="nothing to try it on: no dynamic linker is mapped")


def _rings(loaded: Loaded) -> Check:
    table = open_maps(loaded.maps)["payload"]
    try:
        rings = [open_ring(table, cpu, ring_pages(_RING_MEMORY)) for cpu in online_cpus()]
    except OSError as error:
        return Check(
            name="rings",
            good=False,
            detail=str(error.strerror),
            advice="raise the limit of locked memory (ulimit -l), or give less with --memory",
        )
    counted = all(ring.lost_known for ring in rings)
    size = sum(ring.size for ring in rings) >> 20
    for ring in rings:
        ring.close()
    how = (
        "the kernel counts its losses too" if counted else "losses are counted by the probes alone"
    )
    return Check(name="rings", good=True, detail=f"{size} MiB on {len(rings)} CPUs, {how}")


def _tried(name: str, attach: Callable[[], int | list[int]], advice: str) -> Check:
    try:
        made = attach()
    except OSError as error:
        return Check(name=name, good=False, detail=str(error.strerror), advice=advice)
    for descriptor in made if isinstance(made, list) else [made]:
        os.close(descriptor)
    return Check(name=name, good=True, detail="attached and taken out again")
