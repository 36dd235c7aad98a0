"""The attacher's own process: finds TLS libraries as they are mapped, hooks them, holds the links.

Run as ``python -m qtapture.capture.attacher_child FD SITES``. It reads the kernel's news of
mappings and has the files read by a child without privileges; the recorder does neither. When the
recorder ends, in whatever way, this ends too, and every probe in programs with it.

It reads before the probes are loaded, so that they are in place soon after.
"""

import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from qtapture.capture.attaching import receive_rights
from qtapture.capture.discovery import Attachment, Discovery
from qtapture.capture.job_control import SHELLS, watches_children
from qtapture.capture.kernel_config import Maps, Member, add_member, open_maps
from qtapture.capture.mappings import (
    FileKey,
    MappedFile,
    iter_mapping_records,
    iter_mappings,
    iter_pids,
    start_ticks,
)
from qtapture.capture.parsing import Parser
from qtapture.capture.rings import Ring, online_cpus, open_mapping_ring, open_ring
from qtapture.timebase import boottime_ns

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_STEER_PAGES = 8  # 32 KiB: 800 stops that wait at once on one CPU
_MAPPING_PAGES = 64  # 256 KiB: 2,000 mappings between two looks
_PERF_HEAD = struct.Struct("<IHH")
_STEER = struct.Struct("<IQII")  # length of the raw sample, then struct qt_steer
_PERF_RECORD_SAMPLE = 9
_AT_EXEC = 1  # QT_STEER_EXEC
_RUNNING = 4  # QT_STEER_RUNNING: it was not stopped
# Processes whose mapping of a library was told; forgetting one tells it again.
_MOST_TOLD = 65_536


class _Attacher:
    def __init__(self, peer: socket.socket, *, sites: bool) -> None:
        self._peer = peer
        self._parser = Parser()
        self._discovery = Discovery(self._parser.parse, sites=sites)
        self._maps: Maps = {}
        self._steer: list[Ring] = []
        self._shells: set[FileKey] = set()
        self._told: OrderedDict[tuple[int, int, int], None] = OrderedDict()
        # Before the first look, so that nothing is mapped between the two.
        self._mapping = [open_mapping_ring(cpu, _MAPPING_PAGES) for cpu in online_cpus()]

    def run(self) -> None:
        """Look, wait for the probes, hook, then follow what is mapped until told to stop."""
        found = [(pid, self._decide_all(pid)) for pid in iter_pids()]
        words, programs, maps = receive_rights(self._peer)
        self._maps = open_maps(maps)
        add_member(self._maps, self._parser.pid, Member.OUT)
        self._steer = [
            open_ring(self._maps["steer"], cpu, _STEER_PAGES, each=True) for cpu in online_cpus()
        ]
        self._discovery.arm(programs, linker=bool(words["stop"]), attach=words["attach"])
        for key in self._discovery.decided:
            self._mark_decided(key)
        self._tell_libraries()
        for pid, attachments in found:
            self._tell_mapped(pid, attachments, late=True)
        self._follow_mappings()
        self._say("ready")
        self._follow()
        self._discovery.close()
        self._parser.close()
        self._say("detached")

    def _follow(self) -> None:
        poll = select.poll()
        poll.register(self._peer, select.POLLIN)
        for ring in (*self._steer, *self._mapping):
            poll.register(ring.descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            # Whoever stands still comes first.
            self._follow_stops()
            self._follow_mappings()
            if self._peer.fileno() in ready and not self._peer.recv(64):
                sys.exit(0)
            if self._peer.fileno() in ready:
                return

    # ------------------------------------------------------------------ what is mapped

    def _follow_mappings(self) -> None:
        for ring in self._mapping:
            for data in ring.iter_copies():
                for found in iter_mapping_records(data):
                    self._mapped(found)

    def _mapped(self, found: MappedFile) -> None:
        late = not self._discovery.is_decided(found.key)
        attachment = self._decide(found)
        if attachment is not None:
            self._tell_libraries()
            self._tell_mapped(found.pid, [attachment], late=late)

    def _decide_all(self, pid: int) -> list[Attachment]:
        decided = [self._decide(found) for found in iter_mappings(pid)]
        attachments = [attachment for attachment in decided if attachment is not None]
        _share_version(attachments)
        return attachments

    def _decide(self, found: MappedFile) -> Attachment | None:
        known = self._discovery.is_decided(found.key)
        attachment = self._discovery.decide(found)
        if PurePath(found.path).name in SHELLS:
            self._shells.add(found.key)
        if not known and self._maps:
            self._mark_decided(found.key)
        return attachment

    def _mark_decided(self, key: FileKey) -> None:
        if key in self._shells:
            # Stopped at each exec: whether it watches its children depends on its terminal.
            return
        device, inode = key
        try:
            self._maps["decided"].set(struct.pack("<QII", inode, device, 0), b"\1\0\0\0")
        except OSError:
            # Full: the process is stopped for a millisecond each time, and nothing is missed.
            return

    # ------------------------------------------------------------------ who stands still

    def _follow_stops(self) -> None:
        for ring in self._steer:
            for data in ring.iter_copies():
                for pid, why in _stops(data):
                    self._release(pid, why)

    def _release(self, pid: int, why: int) -> None:
        attachments = self._decide_all(pid)
        if why & _AT_EXEC:
            self._judge_shell(pid, suspected=bool(why & _RUNNING))
        if not why & _RUNNING:
            self._continue(pid)
        self._tell_libraries()
        self._tell_mapped(pid, attachments, late=bool(why & _RUNNING))

    def _judge_shell(self, pid: int, *, suspected: bool) -> None:
        """Say whether a process watches its children; ``suspected``: the probe said so already."""
        watches = watches_children(pid)
        if watches or suspected:
            known = Member.IN | Member.COMMAND
            add_member(self._maps, pid, known | Member.WATCHES if watches else known)

    def _continue(self, pid: int) -> None:
        self._maps["stopped"].discard(struct.pack("<I", pid))
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return  # somebody killed it meanwhile

    # ------------------------------------------------------------------ telling

    def _tell_libraries(self) -> None:
        for attachment in self._discovery.new:
            # Each place where we planted a breakpoint is told, and each library that stays dark.
            if attachment.tls or attachment.links:
                self._say("library", **attachment.described())
        self._discovery.new.clear()

    def _tell_mapped(self, pid: int, attachments: Iterable[Attachment], *, late: bool) -> None:
        for number in sorted({a.number for a in attachments if a.tls}):
            ticks = start_ticks(pid)
            key = (pid, ticks, number)
            if key in self._told and ticks:
                continue  # ticks are 0 for one that has ended since: its number tells
            self._told[key] = None
            if len(self._told) > _MOST_TOLD:
                self._told.popitem(last=False)
            self._say("mapped", pid=pid, start_ticks=ticks, library=number, late=late)

    def _say(self, kind: str, **facts: Any) -> None:
        line = json.dumps({"kind": kind, "time_ns": boottime_ns(), **facts})
        self._peer.sendall(line.encode("utf-8", "surrogateescape") + b"\n")


def main(descriptor: int, sites: str) -> None:
    """Serve the recorder at the other end of a socket until it goes away.

    ``sites``: auto, or exported.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with socket.socket(fileno=descriptor) as peer:
        try:
            _Attacher(peer, sites=sites == "auto").run()
        except (BrokenPipeError, ConnectionResetError, EOFError):
            # The recorder has gone: there is nobody left to tell.
            sys.exit(0)


def _share_version(attachments: list[Attachment]) -> None:
    """libssl does not say its version; the libcrypto beside it does."""
    versions = [a.facts.version for a in attachments if a.facts.version]
    for attachment in attachments:
        if versions and attachment.tls and not attachment.facts.version:
            attachment.version = versions[0]


def _stops(data: bytes) -> Iterable[tuple[int, int]]:
    at = 0
    while at + _PERF_HEAD.size <= len(data):
        kind, _, size = _PERF_HEAD.unpack_from(data, at)
        if kind == _PERF_RECORD_SAMPLE:
            _, _, pid, why = _STEER.unpack_from(data, at + _PERF_HEAD.size)
            yield pid, why
        at += max(size, _PERF_HEAD.size)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
