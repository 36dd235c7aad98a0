"""Processes over time: from exec, fork and exit, from the snapshot, and from who spoke.

Rule 1: a process is (pid, start ticks); a pid alone names nobody.
Rule 2: a process is shown as it was at the time: before its exec it was still its parent's image.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from qtapture.events import Process
from qtapture.reassembly.facts import maybe_text, number, text, texts
from qtapture.reassembly.samples import Exec, ExecArgs, Exit, Fork, Head

__all__ = ["ProcessBook", "ProcessKey", "entity_id"]

ProcessKey = tuple[int, int]  # pid, start ticks

# A container runtime's id in a cgroup path: docker-ID.scope, /docker/ID, cri-containerd-ID.scope.
_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
# Argument pieces waiting for their exec, which precedes them on its CPU; hostile input may not.
_MOST_ARGS = 131_072  # MAX_ARG_STRLEN of Linux; the probe copies no more
_SIGNAL = 0x7F
_TICK_NS = 10_000_000
# Images remembered for one process; a shell script execs once, a supervisor a few times.
_MOST_VERSIONS = 256


def entity_id(boot_id: str, pid: int, start_ticks: int) -> str:
    """The name of a process that no other process of any host has (docs/evidence.md)."""
    return hashlib.sha1(
        f"{boot_id}:{pid}:{start_ticks}".encode(), usedforsecurity=False
    ).hexdigest()


@dataclass(slots=True)
class _Life:
    """One process: how it was from which time on, and how it ended."""

    times: list[int] = field(default_factory=list)
    versions: list[Process] = field(default_factory=list)
    exec_ns: int = 0
    args: bytearray = field(default_factory=bytearray)
    args_len: int = 0

    def at(self, time_ns: int) -> Process:
        return self.versions[max(bisect_right(self.times, time_ns) - 1, 0)]

    def become(self, time_ns: int, process: Process) -> None:
        if len(self.versions) >= _MOST_VERSIONS:
            del self.times[1], self.versions[1]
        at = bisect_right(self.times, time_ns)
        self.times.insert(at, time_ns)
        self.versions.insert(at, process)


class ProcessBook:
    """All processes of a session, in order of first sight."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self._lives: dict[ProcessKey, _Life] = {}
        self._users: dict[int, str] = {}
        self._cgroups: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._lives)

    def __iter__(self) -> Iterator[Process]:
        """Every process as it was at last."""
        return (life.versions[-1] for life in self._lives.values())

    def maybe_at(self, key: ProcessKey, time_ns: int) -> Process | None:
        """The process as it was at a time, None if nothing is known of it."""
        life = self._lives.get(key)
        return life.at(time_ns) if life else None

    def maybe_last(self, key: ProcessKey) -> Process | None:
        """The process as it was at last."""
        life = self._lives.get(key)
        return life.versions[-1] if life else None

    def _blank(self, key: ProcessKey, origin: str) -> Process:
        pid, ticks = key
        name = entity_id(self._boot_id, pid, ticks)
        return Process(pid=pid, start_ticks=ticks, entity_id=name, origin=origin)

    def _life(self, key: ProcessKey, time_ns: int, origin: str) -> _Life:
        life = self._lives.get(key)
        if life is None:
            life = self._lives[key] = _Life()
            life.become(time_ns, self._blank(key, origin))
        return life

    # -------------------------------------------------------------- samples

    def seen(self, head: Head) -> None:
        """A sample came from this process: it exists, whatever else is known."""
        key = (head.pid, head.start_ticks)
        if head.pid and key not in self._lives:
            life = self._life(key, head.time_ns, "inferred")
            life.versions[-1] = replace(life.versions[-1], comm=comm_text(head.comm))

    def exec(self, sample: Exec) -> None:
        """Another program from now on."""
        head = sample.head
        key = (head.pid, head.start_ticks)
        known = key in self._lives
        life = self._life(key, head.time_ns, "exec")
        process = replace(
            life.at(head.time_ns),
            ppid=sample.ppid,
            parent_entity_id=entity_id(self._boot_id, sample.ppid, sample.parent_start_ticks),
            ns_pid=sample.ns_pid,
            start_ns=sample.start_ns or head.start_ticks * _TICK_NS,
            exec_ns=head.time_ns,
            comm=comm_text(head.comm),
            executable=path_text(sample.file),
            argv=(),
            argv_truncated=sample.args_len > 0,
            **self._identity(sample.uid, sample.gid, sample.cgroup_id),
        )
        life.exec_ns, life.args_len, life.args = head.time_ns, sample.args_len, bytearray()
        if known:
            life.become(head.time_ns, process)
        else:
            life.versions[-1] = process

    def _identity(self, uid: int, gid: int, cgroup_id: int) -> dict[str, Any]:
        cgroup = self._cgroups.get(cgroup_id)
        return {
            "uid": uid,
            "gid": gid,
            "user": self._users.get(uid),
            "cgroup_id": cgroup_id,
            "cgroup": cgroup,
            "container": _container(cgroup),
        }

    def exec_args(self, sample: ExecArgs) -> None:
        """More of the arguments of the latest exec; a missing piece cuts them there."""
        head = sample.head
        life = self._lives.get((head.pid, head.start_ticks))
        if life is None or life.exec_ns != sample.exec_ns or sample.offset != len(life.args):
            return
        life.args += sample.data[: _MOST_ARGS - len(life.args)]
        at = max(bisect_right(life.times, sample.exec_ns) - 1, 0)
        life.versions[at] = replace(
            life.versions[at],
            argv=argv_of(bytes(life.args)),
            argv_truncated=len(life.args) < life.args_len,
        )
        if len(life.args) >= life.args_len:
            life.args = bytearray()
            life.exec_ns = 0

    def fork(self, sample: Fork) -> Process:
        """A child, which is its parent's image until it execs."""
        head = sample.head
        self.seen(head)
        parent = self.maybe_at((head.pid, head.start_ticks), head.time_ns)
        key = (sample.child_pid, sample.child_start_ticks)
        child = replace(
            parent or self._blank(key, "fork"),
            pid=sample.child_pid,
            start_ticks=sample.child_start_ticks,
            entity_id=entity_id(self._boot_id, *key),
            ppid=head.pid,
            parent_entity_id=entity_id(self._boot_id, head.pid, head.start_ticks),
            ns_pid=sample.child_ns_pid,
            start_ns=sample.child_start_ns,
            exec_ns=None,
            exit_ns=None,
            exit_code=None,
            exit_signal=None,
            origin="fork",
            **self._identity(sample.uid, sample.gid, sample.cgroup_id),
        )
        if parent and child.cgroup is None and parent.cgroup_id == child.cgroup_id:
            child = replace(child, cgroup=parent.cgroup, container=parent.container)
        if key in self._lives:  # it spoke before its fork was told: other CPUs
            return self.maybe_at(key, head.time_ns) or child
        life = self._lives[key] = _Life()
        life.become(head.time_ns, child)
        return child

    def exit(self, sample: Exit) -> None:
        """The end, on the last image alone."""
        head = sample.head
        self.seen(head)
        life = self._lives.get((head.pid, head.start_ticks))
        if life is None:
            return
        signal = sample.exit_code & _SIGNAL
        life.versions[-1] = replace(
            life.versions[-1],
            exit_ns=head.time_ns,
            exit_code=None if signal else sample.exit_code >> 8 & 0xFF,
            exit_signal=signal or None,
        )

    # -------------------------------------------------------------- the recorder's own view

    def snapshot(self, time_ns: int, body: Mapping[str, Any]) -> None:
        """A process as /proc showed it: at the start, or later to complete a sample."""
        key = (number(body, "pid"), number(body, "start_ticks"))
        if not key[0]:
            return
        self._learn(body)
        known = key in self._lives
        life = self._life(key, time_ns, "snapshot")
        for at, version in enumerate(life.versions):
            life.versions[at] = self._completed(version, body, final=at == len(life.versions) - 1)
        if not known:
            life.times[0] = 0  # it was so before the recording

    def learn_users(self, names: object) -> None:
        """Names of users by number, as the header has them."""
        for number_text, name in names.items() if isinstance(names, dict) else ():
            if isinstance(name, str) and number_text.isascii() and number_text.isdigit():
                self._users[int(number_text[:10])] = name

    def _learn(self, body: Mapping[str, Any]) -> None:
        user, cgroup = maybe_text(body, "user"), maybe_text(body, "cgroup")
        if user is not None:
            self._users[number(body, "uid")] = user
        if cgroup is not None:
            self._cgroups[number(body, "cgroup_id")] = cgroup

    def _completed(self, known: Process, body: Mapping[str, Any], *, final: bool) -> Process:
        """Fill in what a sample did not say; what it said stands."""
        uid = number(body, "uid") if known.uid is None and "uid" in body else known.uid
        cgroup_id = known.cgroup_id or number(body, "cgroup_id")
        cgroup = known.cgroup or self._cgroups.get(cgroup_id) or maybe_text(body, "cgroup")
        parent = known.parent_entity_id
        if parent is None and number(body, "ppid"):
            parent = entity_id(
                self._boot_id, number(body, "ppid"), number(body, "parent_start_ticks")
            )
        filled = replace(
            known,
            ppid=known.ppid or number(body, "ppid"),
            parent_entity_id=parent,
            ns_pid=known.ns_pid or number(body, "ns_pid"),
            uid=uid,
            gid=known.gid if known.gid is not None else number(body, "gid"),
            user=known.user or (self._users.get(uid) if uid is not None else None),
            cgroup_id=cgroup_id,
            cgroup=cgroup,
            container=known.container or _container(cgroup),
            start_ns=known.start_ns or number(body, "start_ns") or None,
        )
        if not final:
            return filled
        return replace(
            filled,
            comm=known.comm or text(body, "comm"),
            # execve may have been given a relative path or a script: /proc knows better
            executable=text(body, "exe") or known.executable,
            argv=known.argv or texts(body, "argv"),
            argv_truncated=known.argv_truncated if known.argv else bool(body.get("argv_truncated")),
        )


def comm_text(comm: bytes) -> str:
    """A thread's name up to its NUL."""
    return path_text(comm.split(b"\0", 1)[0])


def path_text(raw: bytes) -> str:
    """Bytes of the system as text: UTF-8, and what is not stays visible as an escape."""
    return raw.decode("utf-8", "backslashreplace")


def argv_of(area: bytes) -> tuple[str, ...]:
    """The argument area, which NULs separate."""
    return tuple(path_text(part) for part in area.removesuffix(b"\0").split(b"\0"))


def _container(cgroup: str | None) -> str | None:
    found = _CONTAINER.findall(cgroup or "")
    return found[-1] if found else None
