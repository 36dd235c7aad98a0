"""The recorder's end of the attacher: start it, hand it the probes, hear what it found."""

import array
import json
import selectors
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from qtapture.capture.children import python_child
from qtapture.capture.loader import Loaded
from qtapture.errors import CaptureError, HostError

__all__ = ["Attacher", "Report", "receive_rights", "send_rights"]

_MOST_DESCRIPTORS = 253  # SCM_MAX_FD
_WORDS_SIZE = 4
_READY_SECONDS = 120  # thousands of processes on a busy host; 0.3 s is usual
_DETACH_SECONDS = 30
_TURN_SECONDS = 0.01
_PIECE = 65_536

Report = Mapping[str, Any]


class Attacher:
    """A process that hooks libraries; its reports are facts for the session."""

    def __init__(self, sites: str) -> None:
        """``sites``: auto, or exported."""
        self._child, self._peer = python_child("qtapture.capture.attacher_child", sites)
        self._rest = b""
        self.probes = 0  # places that are probed now

    @property
    def pid(self) -> int:
        """Its process: never to be recorded."""
        return self._child.pid

    def child_pids(self) -> list[int]:
        """Its own children: the one that parses."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii")
        except OSError:
            return []  # a kernel without CONFIG_PROC_CHILDREN: its snapshot shows one of ours
        return [int(word) for word in text.split()]

    def fileno(self) -> int:
        """For poll: readable when there are reports."""
        return self._peer.fileno()

    def arm(self, loaded: Loaded, *, stop: bool, attach: str) -> list[Report]:
        """Hand over programs and maps, and wait until everything known is hooked.

        ``stop``: descendants of COMMAND will stand still until it lets them go on.
        ``attach``: the kind of probes, multi or perf.

        Raises:
            HostError: it could not hook anything.
        """
        send_rights(self._peer, {"stop": stop, "attach": attach}, loaded.programs, loaded.maps)
        reports = self._until("ready", _READY_SECONDS)
        if reports is None:
            raise HostError("the process that attaches probes has failed to start")
        return reports

    def reports(self) -> list[Report]:
        """What has been found since; does not wait.

        Raises:
            CaptureError: the process has gone.
        """
        try:
            piece = self._peer.recv(_PIECE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise CaptureError("the process that attaches probes has ended: nothing is hooked")
        return self._lines(piece)

    def detach(self, while_waiting: Callable[[], object] = lambda: None) -> list[Report]:
        """Take all probes out of programs, wait until they are, and end the process.

        ``while_waiting`` is called every few milliseconds until then.
        """
        try:
            self._peer.sendall(b"detach\n")
        except OSError:
            reports = None
        else:
            reports = self._until("detached", _DETACH_SECONDS, while_waiting)
        self.close()
        return reports or []

    def close(self) -> None:
        """End the process, at once."""
        self._peer.close()
        self._child.kill()
        self._child.wait()

    def _until(
        self, kind: str, seconds: float, while_waiting: Callable[[], object] | None = None
    ) -> list[Report] | None:
        """Reports up to the one of a kind, None if nothing comes for so long."""
        turns = 1 if while_waiting is None else int(seconds / _TURN_SECONDS)
        turn = seconds / turns
        reports: list[Report] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self._peer, selectors.EVENT_READ)
            while not reports or reports[-1]["kind"] != kind:
                if not any(_turns(selector, turns, turn, while_waiting)):
                    return None
                try:
                    reports += self.reports()
                except CaptureError:
                    return None
        return reports[:-1]

    def _lines(self, piece: bytes) -> list[Report]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        reports: list[Report] = [json.loads(line) for line in lines]
        self.probes += sum(report.get("probes", 0) for report in reports)
        return reports


def _turns(
    selector: selectors.BaseSelector,
    turns: int,
    seconds: float,
    while_waiting: Callable[[], object] | None,
) -> Iterator[bool]:
    """Wait in turns; True ends it."""
    for _ in range(turns):
        yield bool(selector.select(seconds))
        if while_waiting is not None:
            while_waiting()


def receive_rights(peer: socket.socket) -> tuple[dict[str, Any], dict[str, int], dict[str, int]]:
    """The other end of `Attacher.arm`: its words, programs and maps by name.

    Raises:
        EOFError: the recorder has gone.
    """
    # The descriptors come with the first byte.
    room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
    head, ancillary, _, _ = peer.recvmsg(_WORDS_SIZE, room, socket.MSG_CMSG_CLOEXEC)
    if len(head) < _WORDS_SIZE:
        raise EOFError
    body = peer.recv(int.from_bytes(head, "little"), socket.MSG_WAITALL)
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    words = json.loads(body)
    count = len(words["programs"])
    programs = dict(zip(words["programs"], descriptors[:count], strict=True))
    maps = dict(zip(words["maps"], descriptors[count:], strict=True))
    return words, programs, maps


def send_rights(
    peer: socket.socket,
    words: Mapping[str, Any],
    programs: Mapping[str, int],
    maps: Mapping[str, int],
) -> None:
    """Send words, programs and maps to a process of ours; `receive_rights` takes them."""
    body = json.dumps({**words, "programs": list(programs), "maps": list(maps)}).encode()
    rights = array.array("i", [*programs.values(), *maps.values()])
    head = len(body).to_bytes(_WORDS_SIZE, "little")
    peer.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    peer.sendall(body)
