"""Signals as something to poll for: the main loop looks at them when it has nothing half done."""

import contextlib
import os
import signal
from collections.abc import Iterator

__all__ = ["shares_terminal", "signals_as_bytes", "taken_signals"]


@contextlib.contextmanager
def signals_as_bytes() -> Iterator[int]:
    """SIGINT and SIGTERM become bytes that poll sees; the descriptor to read them from."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    before_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _ignored) for number in numbers}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_wakeup)
        os.close(reader)
        os.close(writer)


def _ignored(number: int, frame: object) -> None:
    # The byte in the pipe is the message (signal.set_wakeup_fd).
    del number, frame


def taken_signals(wakeup: int) -> bytes:
    """Numbers of the signals that came since; does not wait."""
    try:
        return os.read(wakeup, 64)
    except BlockingIOError:
        return b""


def shares_terminal() -> bool:
    """Whether a Ctrl-C on our terminal reaches our process group, COMMAND included."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False  # standard input is no terminal of ours
