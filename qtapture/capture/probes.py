"""The kernel side as one thing: loaded, scoped, hooked, drained, counted, taken out again."""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from qtapture.capture.attaching import Attacher, Report
from qtapture.capture.bpf import attach_raw_tracepoint, runs_skipped
from qtapture.capture.features import Means
from qtapture.capture.guarding import Guardian
from qtapture.capture.kernel_config import (
    Maps,
    Member,
    Scope,
    add_member,
    open_maps,
    read_counts,
    read_members,
    write_scope,
)
from qtapture.capture.loader import Loaded, start_loading
from qtapture.capture.programs import ESSENTIAL, PROGRAMS, programs_for
from qtapture.capture.rings import Ring, online_cpus, open_ring, ring_pages
from qtapture.capture.uprobes import DETACH_SECONDS
from qtapture.errors import HostError

__all__ = ["DEFAULT_MEMORY", "RING_NAMES", "Probes"]

# The numbers of rings in a session (formats/samples.md).
RING_NAMES = ("control", "payload", "secrets")
# All rings together; 1 MiB for each CPU where that is more.
DEFAULT_MEMORY = 64 << 20
_MEMORY_PER_CPU = 1 << 20
# Shares of the memory: an eighth is control's, which payload can never take. Nothing writes
# secrets yet, so their rings are as small as rings can be.
_CONTROL_SHARE = 8
_SECRETS_BUDGET = 1
_NO_ROOT = frozenset({errno.EPERM, errno.EACCES})


@dataclass(slots=True)
class Probes:
    """Everything that is ours in the kernel during one recording."""

    means: Means
    loaded: Loaded
    maps: Maps
    attacher: Attacher
    guardian: Guardian | None = None
    rings: dict[int, list[Ring]] = field(default_factory=dict)
    links: list[int] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, means: Means, *, memory: int, stop: bool) -> "Probes":
        """Load programs and make rings; nothing is recorded before `arm`.

        ``means``: how, with every choice made but the loader's. ``memory``: bytes for all rings
        together. ``stop``: processes of COMMAND may be stopped.

        Raises:
            HostError: this host cannot capture.
        """
        pending = start_loading(means)
        attacher = Attacher(means.sites)  # looks at what is mapped while the probes are compiled
        try:
            loaded = pending.result()
        except HostError:
            attacher.close()
            raise
        probes = cls(means=means, loaded=loaded, maps=open_maps(loaded.maps), attacher=attacher)
        try:
            probes.refused.update(loaded.refused)
            probes._open_rings(memory)
            if stop:
                probes.guardian = Guardian(loaded)
            probes._link_tails()
        except OSError as error:
            probes.close()
            raise HostError(_explained(error)) from None
        return probes

    def arm(self, scope: Scope, *, stop: bool) -> list[Report]:
        """Begin: tell the scope, hang every program up, hook what is mapped.

        Raises:
            HostError: an essential program was refused.
            UsageError: the scope has too many names.
        """
        for pid in self.own_pids():
            self.leave_out(pid)
        write_scope(self.maps, scope, stop=stop)
        for name, program in programs_for(self.means.hooks).items():
            if program.tracepoint:
                self._hang_up(name, program.tracepoint)
        return self.attacher.arm(self.loaded, stop=stop, attach=self.means.attach)

    def own_pids(self) -> list[int]:
        """Our processes: never recorded."""
        others = [self.guardian.pid] if self.guardian else []
        return [os.getpid(), self.attacher.pid, *self.attacher.child_pids(), *others]

    def add_command(self, pid: int) -> None:
        """A process that stands before its exec: it and its descendants are COMMAND."""
        add_member(self.maps, pid, Member.IN | Member.COMMAND)

    def leave_out(self, pid: int) -> None:
        """A process that is never recorded, nor are its children."""
        add_member(self.maps, pid, Member.OUT)

    def members(self) -> set[int]:
        """Processes that are in scope by name or by birth."""
        return read_members(self.maps)

    def iter_drained(self) -> Iterator[tuple[int, int, bytes]]:
        """(ring, cpu, whole perf records) of all that is in the rings now."""
        for number, rings in self.rings.items():
            for ring in rings:
                for data in ring.iter_copies():
                    yield number, ring.cpu, data

    def counts(self) -> list[tuple[int, ...]]:
        """struct qt_count by kind."""
        return read_counts(self.maps)

    def ring_losses(self) -> list[tuple[int, int, int]]:
        """(ring, cpu, samples that the kernel could not write) of every ring that counts."""
        return [
            (number, ring.cpu, ring.lost())
            for number, rings in self.rings.items()
            for ring in rings
            if ring.lost_known
        ]

    def skipped_runs(self) -> dict[str, int]:
        """Programs that the kernel did not run, as they ran already, and how often."""
        found = {name: runs_skipped(number) for name, number in self.loaded.programs.items()}
        return {name: count for name, count in found.items() if count}

    def detach_seconds(self) -> float:
        """How long `detach` is going to take; perf events are taken out one by one."""
        return self.attacher.probes * DETACH_SECONDS if self.means.attach == "perf" else 0.0

    def detach(self, while_waiting: Callable[[], object] = lambda: None) -> list[Report]:
        """Take every probe out; what is in the rings stays to be drained.

        ``while_waiting`` is called now and then: probes are at work until they are out.
        """
        reports = self.attacher.detach(while_waiting)
        for link in self.links:
            os.close(link)
        self.links.clear()
        return reports

    def close(self) -> None:
        """Give everything back."""
        self.attacher.close()
        for link in self.links:
            os.close(link)
        self.links.clear()
        if self.guardian:
            self.guardian.close()
        for ring in (ring for rings in self.rings.values() for ring in rings):
            ring.close()
        self.rings.clear()
        self.loaded.close()

    def _open_rings(self, memory: int) -> None:
        cpus = online_cpus()
        each = max(memory // len(cpus), _MEMORY_PER_CPU)
        control = each // _CONTROL_SHARE
        budgets = (control, each - control, _SECRETS_BUDGET)
        for number, (name, budget) in enumerate(zip(RING_NAMES, budgets, strict=True)):
            rings = self.rings.setdefault(number, [])
            for cpu in cpus:
                losses = self.means.ring_losses
                rings.append(open_ring(self.maps[name], cpu, ring_pages(budget), losses=losses))

    def _link_tails(self) -> None:
        for name, program in PROGRAMS.items():
            if program.tail_of and name in self.loaded.programs:
                descriptor = struct.pack("<I", self.loaded.programs[name])
                self.maps[program.tail_of].set(struct.pack("<I", 0), descriptor)

    def _hang_up(self, name: str, tracepoint: str) -> None:
        """One program at its tracepoint; what is refused costs itself alone."""
        problem = self.refused.get(name)
        if problem is None:
            try:
                self.links.append(attach_raw_tracepoint(self.loaded.programs[name], tracepoint))
            except OSError as error:
                problem = f"{tracepoint}: {error.strerror}"
                self.refused[name] = problem
        if problem is not None and name in ESSENTIAL:
            raise HostError(f"the kernel refused an essential probe, {name}: {problem[-200:]}")


def _explained(error: OSError) -> str:
    if error.errno in _NO_ROOT:
        return "the kernel refuses: root, or CAP_BPF, CAP_PERFMON and CAP_IPC_LOCK, are needed"
    return f"the kernel refuses: {error.strerror}"
