"""COMMAND of ``record -- COMMAND``: made before the recording is ready, let go when it is.

The child stands before its exec until `release`, so that the probes know it as the root of
their scope and not one of its system calls is missed.
"""

import errno
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Command", "failure_status", "start_command"]

# As env(1) and every shell: found but not run, and not found.
_CANNOT_RUN = 126
_NOT_FOUND = 127
_SIGNALLED = 128
_ERRNO_BYTES = 4


@dataclass(slots=True)
class Command:
    """One child. ``descriptor`` (pidfd) becomes readable when it ends."""

    argv: tuple[str, ...]
    pid: int
    descriptor: int
    gate: int
    answer: int
    status: int | None = None

    def release(self) -> int | None:
        """Let it exec; the errno if that failed, else None."""
        os.write(self.gate, b"\1")
        os.close(self.gate)
        said = os.read(self.answer, _ERRNO_BYTES)
        os.close(self.answer)
        if not said:
            return None
        self.wait()
        return int.from_bytes(said, "little")

    def maybe_ended(self) -> int | None:
        """Its status as a shell has it (128 + signal), None while it runs."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._ended(status)
        return self.status

    def wait(self) -> int:
        """Its status, when it has ended."""
        while self.status is None:
            _, status = os.waitpid(self.pid, 0)
            self._ended(status)
        return self.status

    def signal(self, number: int) -> None:
        """Forward a signal."""
        if self.status is None:
            os.kill(self.pid, number)

    def give_up(self) -> None:
        """End it before it began."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def _ended(self, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        self.status = code if code >= 0 else _SIGNALLED - code
        os.close(self.descriptor)


def start_command(argv: Sequence[str], *, stdout: int | None = None) -> Command:
    """Fork a child that waits at the gate. Call it before any thread is started.

    ``stdout``: the descriptor that becomes its standard output, where ours is taken.
    """
    gate_out, gate_in = os.pipe()
    answer_out, answer_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(gate_in)
        os.close(answer_out)
        _become(list(argv), gate_out, answer_in, stdout)
    os.close(gate_out)
    os.close(answer_in)
    return Command(
        argv=tuple(argv), pid=pid, descriptor=os.pidfd_open(pid), gate=gate_in, answer=answer_out
    )


def failure_status(number: int) -> int:
    """The exit status for an exec that failed with this errno."""
    return _NOT_FOUND if number in {errno.ENOENT, errno.ENOTDIR} else _CANNOT_RUN


def _become(argv: list[str], gate: int, answer: int, stdout: int | None) -> None:
    """In the child: wait, exec, or say why not. Never returns."""
    try:
        if not os.read(gate, 1):
            os._exit(_CANNOT_RUN)  # the recorder gave up
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if stdout is not None:
            os.dup2(stdout, 1)
        os.execvp(argv[0], argv)  # noqa: S606 - running it is what was asked for
    except OSError as error:
        os.write(answer, (error.errno or errno.EIO).to_bytes(_ERRNO_BYTES, "little"))
    finally:
        os._exit(_CANNOT_RUN)
