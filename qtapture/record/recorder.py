"""One recording from beginning to end."""

import contextlib
import os
import select
import signal
import sys
import threading
from dataclasses import dataclass, replace
from typing import Any

from qtapture.capture.features import choose_means, detect_features
from qtapture.capture.probes import Probes
from qtapture.errors import CaptureError
from qtapture.record.command import Command, failure_status, start_command
from qtapture.record.drain import Drain
from qtapture.record.facts import header, json_body
from qtapture.record.limits import Limits, choose_max_size
from qtapture.record.options import RecordOptions
from qtapture.record.outsiders import is_pipe, other_recordings, pipe_readers
from qtapture.record.priority import come_first
from qtapture.record.signals import shares_terminal, signals_as_bytes, taken_signals
from qtapture.record.snapshot import comm_pids, iter_end_snapshot, iter_snapshot
from qtapture.record.status import StatusLine, human_size, say, tell_systemd
from qtapture.record.target import Target, open_target
from qtapture.record.writing import Writing
from qtapture.session import SessionWriter
from qtapture.source import EventType
from qtapture.timebase import boottime_ns, read_anchor

__all__ = ["record"]

# The rings are looked at so often when nothing wakes us: what a program's call returned half a
# second ago is in the file, through here (50 ms), the queue and the 250 ms of a chunk.
_ROUND_MS = 50
_LAST_LOOK_NS = 250_000_000  # half of what a stop may take
_BETWEEN_ROUNDS = 0.01
_LONG_SECONDS = 0.5  # somebody waits: it is said beforehand
_DISK_ENDED = 1
_OURS_FAILED = 125
_ENDED_BY_DISK = frozenset({"disk", "write error", "probes lost"})


@dataclass(slots=True, kw_only=True)
class _Ending:
    """Why the recording ends; the first reason stands."""

    reason: str = ""
    detail: str = ""

    def because(self, reason: str, detail: str = "") -> None:
        if not self.reason:
            self.reason, self.detail = reason, detail


def record(options: RecordOptions) -> int:
    """Record until something ends it; the exit status (docs/recording.md).

    Raises:
        UsageError: what was asked cannot be done.
        HostError: this host cannot capture.
        OSError: the session could not be written at all.
    """
    options.check()
    means = choose_means(detect_features(), options.means, without=options.without)
    target = open_target(options.output, force=options.force)
    command: Command | None = None
    begun = False
    try:
        if options.command:
            # Before any thread is started. Where stdout is the session, it prints to stderr.
            command = start_command(options.command, stdout=2 if options.output is None else None)
        with signals_as_bytes() as wakeup:
            stop = command is not None
            probes = Probes.load(means, memory=options.memory, stop=stop)
            with contextlib.closing(probes):
                recorder = _Recorder(options, target, probes, command, wakeup)
                recorder.begin()
                begun = True
                return recorder.run()
    finally:
        if not begun:
            target.take_back()
        if command is not None:
            command.give_up()


class _Recorder:
    """The main loop and what it watches."""

    def __init__(
        self,
        options: RecordOptions,
        target: Target,
        probes: Probes,
        command: Command | None,
        wakeup: int,
    ) -> None:
        pids = (*options.scope.pids, *comm_pids(options.scope.comms))
        self._options = replace(options, scope=replace(options.scope, pids=pids))
        self._target = target
        self._probes = probes
        self._command = command
        self._wakeup = wakeup
        self._ending = _Ending()
        self._nobody: set[int] = set()  # who is never recorded
        self._max_size = choose_max_size(options.max_size, target.disk)
        anchor = read_anchor()
        facts = header(options, anchor, probes, self._max_size)
        writer = SessionWriter(target.stream, facts, now_ns=anchor.boottime_ns)
        self._writing = Writing(writer)
        self._drain = Drain(probes, self._writing)
        tty = sys.stderr.isatty()
        self._status = StatusLine(started_ns=anchor.boottime_ns, enabled=tty)

    def begin(self) -> None:
        """Everything up to the ready line; what fails here leaves no session.

        Raises:
            HostError: an essential probe was refused.
            UsageError: the scope has too many names.
        """
        try:
            self._begin()
        except BaseException:
            self._writing.abandon()
            raise

    def run(self) -> int:
        """Let COMMAND go, follow, end; the exit status."""
        status = self._release()
        if status is None:
            self._follow()
        self._end()
        if self._command is not None:
            self._wait_for_command()
        return self._exit_status(status)

    # ------------------------------------------------------------------ the beginning

    def _begin(self) -> None:
        come_first()
        stop = self._command is not None
        if self._command is not None:
            self._probes.add_command(self._command.pid)
        outsiders = other_recordings() | self._stdout_readers()
        for pid in outsiders:
            self._probes.leave_out(pid)
        reports = self._probes.arm(self._options.scope, stop=stop)
        nobody = self._nobody = outsiders | set(self._probes.own_pids())
        if self._command is not None:
            nobody = nobody | {self._command.pid}  # its exec will tell what it is
        for type_, body in iter_snapshot(self._options.scope, nobody):
            self._writing.event(type_, json_body(body), boottime_ns())
        self._drain.report(reports)
        self._drain.anchor()
        self._writing.settle()
        limit = f", at most {human_size(self._max_size)}" if self._max_size else ""
        private = " (it will hold decrypted traffic)" if sys.stderr.isatty() else ""
        say(f"recording to {self._target.name}{limit}{private}")
        tell_systemd()

    def _stdout_readers(self) -> set[int]:
        """Who reads the session from our stdout: recording them would feed itself."""
        if self._options.output is not None or not is_pipe(1):
            return set()
        readers = pipe_readers(1)
        if not readers:
            say("whoever reads this session was not found, and is recorded too")
        return readers

    def _release(self) -> int | None:
        """Let COMMAND go; its exit status if it could not be run."""
        if self._command is None:
            return None
        number = self._command.release()
        if number is None:
            return None
        say(f"qtapture: {self._options.command[0]}: {os.strerror(number)}")
        self._ending.because("command failed", os.strerror(number))
        return failure_status(number)

    # ------------------------------------------------------------------ the recording

    def _follow(self) -> None:
        limits = self._limits()
        poll = self._poll()
        while not self._ending.reason:
            poll.poll(_ROUND_MS)
            self._drain.round()
            self._hear()
            self._look(limits)
        self._status.clear()

    def _limits(self) -> Limits:
        duration = self._options.duration_ns
        end_ns = None if duration is None else boottime_ns() + duration
        return Limits(end_ns=end_ns, max_size=self._max_size, disk=self._target.disk)

    def _poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(self._probes.attacher, select.POLLIN)
        if self._command is not None:
            poll.register(self._command.descriptor, select.POLLIN)
        for ring in (ring for rings in self._probes.rings.values() for ring in rings):
            poll.register(ring.descriptor, select.POLLIN)
        return poll

    def _hear(self) -> None:
        """Signals, and what the attacher found."""
        for number in taken_signals(self._wakeup):
            self._signalled(signal.Signals(number))
        try:
            self._drain.report(self._probes.attacher.reports())
        except CaptureError as error:
            self._ending.because("probes lost", str(error))

    def _signalled(self, number: signal.Signals) -> None:
        command = self._command
        if command is None:
            self._ending.because(number.name)
        elif number != signal.SIGINT or not shares_terminal():
            # A Ctrl-C reaches COMMAND by itself; it decides what to do with it.
            command.signal(number)

    def _look(self, limits: Limits) -> None:
        """Has something ended the recording?"""
        drain, writing = self._drain, self._writing
        if writing.error is not None:
            self._ending.because("write error", str(writing.error))
        reached = limits.reached(writing.size)
        if reached:
            self._ending.because(reached)
        if self._command is not None and self._command.maybe_ended() is not None:
            self._ending.because("command ended")
        self._status.maybe_show(
            samples=drain.samples, payload=drain.payload, lost=drain.lost, size=writing.size
        )

    # ------------------------------------------------------------------ the end

    def _end(self) -> None:
        """Probes out, rings empty, accounts closed, file closed."""
        # Before the probes are out: what moves after it is seen, and makes nothing look lost.
        self._look_once_more()
        seconds = self._probes.detach_seconds()
        if seconds >= _LONG_SECONDS:
            say(f"taking the probes out takes about {seconds:.1f} s on this kernel")
        self._drain.report(self._probes.detach(while_waiting=self._drain.round))
        self._drain.finish()
        facts = {
            "reason": self._ending.reason,
            "detail": self._ending.detail,
            "command_status": self._command.status if self._command else None,
            "skipped_runs": self._probes.skipped_runs(),
        }
        self._writing.event(EventType.END, json_body(facts), boottime_ns())
        try:
            head = self._writing.close({**facts, "samples": self._drain.samples})
        except OSError as error:
            self._ending.because("write error", str(error))
            say(f"qtapture: {self._target.name}: {error.strerror}: the session was not closed")
            self._cut_to_whole_chunks()
            return
        finally:
            self._target.stream.close()
        self._tell(head)

    def _look_once_more(self) -> None:
        """What is still open, if that can be had quickly; rings are emptied meanwhile."""
        members = self._probes.members()
        found: list[tuple[EventType, dict[str, Any]]] = []
        failed: list[str] = []

        def look() -> None:
            try:
                found.extend(iter_end_snapshot(self._options.scope, members, self._nobody))
            except Exception as error:  # noqa: BLE001 - whatever it is, the session is closed
                failed.append(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=look, name="last look", daemon=True)
        thread.start()
        end_ns = boottime_ns() + _LAST_LOOK_NS
        while thread.is_alive() and boottime_ns() < end_ns:
            self._drain.round()
            thread.join(_BETWEEN_ROUNDS)
        if thread.is_alive() or failed:
            words = failed[0] if failed else "it would have taken too long"
            text = f"no snapshot at the end: {words}"
            self._writing.event(EventType.NOTE, json_body({"text": text}), boottime_ns())
            return
        for type_, body in found:
            self._writing.event(type_, json_body(body), boottime_ns())

    def _cut_to_whole_chunks(self) -> None:
        """A chunk that is cut is of no use; without it the file is whole to its last byte."""
        if self._target.disk is None:
            return
        try:
            os.ftruncate(self._target.disk, self._writing.whole)
        except OSError as error:
            # A file system that has become read-only keeps the piece; readers tell where it is.
            say(f"qtapture: {self._target.name}: {error.strerror}: its last chunk may be cut")

    def _tell(self, head: str) -> None:
        drain = self._drain
        detail = f": {self._ending.detail}" if self._ending.detail else ""
        say(
            f"recorded {drain.samples:,} events, {human_size(drain.payload)} of payload, "
            f"{drain.lost:,} lost, ended by {self._ending.reason}{detail}"
        )
        say(f"{self._target.name}: {human_size(self._writing.size)}, chain head {head}")

    def _wait_for_command(self) -> None:
        """A limit ends the recording, not COMMAND."""
        command = self._command
        if command is None or command.maybe_ended() is not None:
            return
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        poll.register(command.descriptor, select.POLLIN)
        while command.maybe_ended() is None:
            poll.poll()
            for number in taken_signals(self._wakeup):
                self._signalled(signal.Signals(number))

    def _exit_status(self, failed: int | None) -> int:
        ours = self._ending.reason in _ENDED_BY_DISK
        if self._command is None:
            return _DISK_ENDED if ours else 0
        status = failed if failed is not None else self._command.status or 0
        return _OURS_FAILED if ours and status == 0 else status
