"""Processes as /proc shows them: for what began before the recording."""

import os
import pwd
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from qtapture.capture.mappings import iter_pids, start_ticks

__all__ = ["ProcFacts", "maybe_process", "read_processes"]

_TICK_NS = 10_000_000  # USER_HZ is 100 on every architecture that has probes
_MOST_ARGUMENT_BYTES = 131_072  # as much as the exec probe takes
_CGROUP_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")  # v2 alone, and hybrid


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcFacts:
    """One process; fields as in the body of a PROCESS record (formats/session.md)."""

    pid: int
    start_ticks: int
    ppid: int
    parent_start_ticks: int
    ns_pid: int
    uid: int
    gid: int
    user: str | None
    comm: str
    exe: str
    argv: tuple[str, ...]
    argv_truncated: bool
    cgroup: str | None
    cgroup_id: int

    def body(self) -> dict[str, Any]:
        """As it stands in the session."""
        return {
            "pid": self.pid,
            "start_ticks": self.start_ticks,
            "start_ns": self.start_ticks * _TICK_NS,
            "ppid": self.ppid,
            "parent_start_ticks": self.parent_start_ticks,
            "ns_pid": self.ns_pid,
            "uid": self.uid,
            "gid": self.gid,
            "user": self.user,
            "comm": self.comm,
            "exe": self.exe,
            "argv": list(self.argv),
            "argv_truncated": self.argv_truncated,
            "cgroup": self.cgroup,
            "cgroup_id": self.cgroup_id,
        }


def read_processes() -> dict[int, ProcFacts]:
    """Every process of the host, by pid."""
    found = (maybe_process(pid) for pid in iter_pids())
    return {process.pid: process for process in found if process is not None}


def maybe_process(pid: int) -> ProcFacts | None:
    """One process, None if it has ended."""
    folder = Path(f"/proc/{pid}")
    ticks = start_ticks(pid)
    try:
        status = _status((folder / "status").read_text("utf-8", "surrogateescape"))
        line = (folder / "cmdline").read_bytes()
    except OSError:
        return None
    if not ticks:
        return None
    ppid = int(status["PPid"])
    cgroup, cgroup_id = _cgroup(folder)
    uid = int(status["Uid"].split()[0])
    arguments = line[:_MOST_ARGUMENT_BYTES].removesuffix(b"\0")
    return ProcFacts(
        pid=pid,
        start_ticks=ticks,
        ppid=ppid,
        parent_start_ticks=start_ticks(ppid) if ppid else 0,
        ns_pid=int(status.get("NSpid", str(pid)).split()[-1]),
        uid=uid,
        gid=int(status["Gid"].split()[0]),
        user=_user(uid),
        comm=status["Name"],
        exe=_exe(folder),
        argv=tuple(_text(part) for part in arguments.split(b"\0")) if arguments else (),
        argv_truncated=len(line) > _MOST_ARGUMENT_BYTES,
        cgroup=cgroup,
        cgroup_id=cgroup_id,
    )


def _status(text: str) -> dict[str, str]:
    rows = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in rows}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _exe(folder: Path) -> str:
    try:
        return _text(os.fsencode((folder / "exe").readlink()))
    except OSError:
        return ""  # a kernel thread, or gone


def _cgroup(folder: Path) -> tuple[str | None, int]:
    """The cgroup v2 path and its id, else the longest v1 path and 0."""
    try:
        lines = (folder / "cgroup").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None, 0
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines if line.count(":") > 1}
    unified = paths.get("")
    number = _cgroup_id(unified) if unified is not None else 0
    # On hybrid hosts the container's path may stand in the v1 lines alone.
    named = max(paths.values(), key=len, default=None)
    return named, number


@lru_cache(maxsize=4096)
def _cgroup_id(path: str) -> int:
    for root in _CGROUP_ROOTS:
        try:
            return Path(root + path).stat().st_ino
        except OSError:
            continue
    return 0


@lru_cache(maxsize=4096)
def _user(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
