"""Can this host record? Found by trying each thing, never by a version.

Rule 1: a check does what a recording would do, and undoes it.
Rule 2: what fails says what to do about it.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qtapture.capture.bpf import attach_raw_tracepoint, attach_uprobe_multi
from qtapture.capture.btf import field_offsets
from qtapture.capture.dialect import PROGRAMS
from qtapture.capture.elf import read_elf
from qtapture.capture.kernel_config import open_maps
from qtapture.capture.loader import Loaded, start_loading
from qtapture.capture.mappings import iter_mappings, maybe_open
from qtapture.capture.rings import online_cpus, open_ring, ring_pages
from qtapture.errors import HostError

__all__ = ["NEEDED_CAPABILITIES", "Check", "iter_checks"]

# Numbers of include/uapi/linux/capability.h, and what each is for.
NEEDED_CAPABILITIES: dict[str, tuple[int, str]] = {
    "CAP_BPF": (39, "to load programs and maps"),
    "CAP_PERFMON": (38, "to read kernel memory and open rings"),
    "CAP_SYS_ADMIN": (21, "to attach to other users' programs and open what they map"),
    "CAP_SYS_PTRACE": (19, "to see what other users' processes map"),
    "CAP_DAC_READ_SEARCH": (2, "to read files of other users"),
    "CAP_KILL": (5, "to continue processes of COMMAND"),
    "CAP_IPC_LOCK": (14, "for rings past the limit of locked memory"),
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
    yield _capabilities()
    yield _btf()
    yield _space(folder)
    yield _cgroups()
    try:
        loaded = start_loading().result()
    except HostError as error:
        yield Check(
            name="loader",
            good=False,
            detail=str(error),
            advice="install python3-bpfcc from the distribution, and run as root",
        )
        return
    try:
        yield _loader(loaded)
        yield from _tracepoints(loaded)
        yield _uprobes(loaded)
        yield _rings(loaded)
    finally:
        loaded.close()


def _capabilities() -> Check:
    status = Path("/proc/self/status").read_text("utf-8")
    effective = int(next(line for line in status.splitlines() if "CapEff" in line).split()[1], 16)
    missing = [name for name, (bit, _) in NEEDED_CAPABILITIES.items() if not effective >> bit & 1]
    return Check(
        name="capabilities",
        good=not missing,
        detail=f"missing {', '.join(missing)}" if missing else ", ".join(NEEDED_CAPABILITIES),
        advice="run as root, or give the process the missing capabilities",
    )


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


def _loader(loaded: Loaded) -> Check:
    refused = [f"{name}: {log.strip()[-120:]}" for name, log in loaded.refused.items()]
    return Check(
        name="loader",
        good=not refused,
        detail="; ".join(refused) or f"bcc loaded {len(loaded.programs)} programs",
        advice="what was refused is not recorded; the log names the reason",
    )


def _tracepoints(loaded: Loaded) -> Iterator[Check]:
    for name, program in PROGRAMS.items():
        if program.tracepoint and name in loaded.programs:
            attach = partial(attach_raw_tracepoint, loaded.programs[name], program.tracepoint)
            yield _tried(
                f"tracepoint {program.tracepoint}",
                attach,
                "this kernel lacks it: sock_send_length and sock_recv_length came with Linux 6.3",
            )


def _uprobes(loaded: Loaded) -> Check:
    """A link on the dynamic linker that this very process has mapped."""
    for found in iter_mappings(os.getpid()):
        file = maybe_open(found)
        if file is None:
            continue
        with file:
            offset = read_elf(file, ["_dl_debug_state"]).functions.get("_dl_debug_state")
            if offset is not None and "on_link_map" in loaded.programs:
                path = f"/proc/self/fd/{file.fileno()}"
                program = loaded.programs["on_link_map"]
                attach = partial(attach_uprobe_multi, program, path, [offset], 0)
                return _tried("uprobe_multi", attach, "uprobe_multi links came with Linux 6.6")
    return Check(
        name="uprobe_multi", good=False, detail="nothing to try it on: no dynamic linker is mapped"
    )


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


def _tried(name: str, attach: Callable[[], int], advice: str) -> Check:
    try:
        os.close(attach())
    except OSError as error:
        return Check(name=name, good=False, detail=str(error.strerror), advice=advice)
    return Check(name=name, good=True, detail="attached and taken out again")
