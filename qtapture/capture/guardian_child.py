"""The guardian's own process: nobody that we stopped stands still for more than a second.

Run as ``python -m qtapture.capture.guardian_child FD``. Under ``-- COMMAND`` a process that maps an
undecided file is stopped until the attacher has decided. If that takes too long, or the recorder
is killed in between, this process continues it: all it needs is the map of those that stand still.
"""

import ctypes
import os
import select
import signal
import socket
import struct
import sys
import time

from qtapture.capture.attaching import receive_rights
from qtapture.capture.bpf import Map
from qtapture.capture.kernel_config import open_maps
from qtapture.timebase import boottime_ns

__all__ = ["main"]

_PATIENCE_NS = 1_000_000_000
_LOOK_MS = 250
# The kernel takes its probes out while the recorder's memory is torn down; until then it stops
# processes that nobody else will continue.
_AFTERMATH_LOOKS = 12
_CONFIG_KEY = struct.pack("<I", 0)
_NOTHING = struct.pack("<II", 0, 0)


def main(descriptor: int) -> None:
    """Watch until the recorder goes away, then continue everybody."""
    ctypes.CDLL(None).prctl(1, 0)  # PR_SET_PDEATHSIG off: this one outlives the recorder
    with socket.socket(fileno=descriptor) as peer:
        try:
            _, _, descriptors = receive_rights(peer)
        except (EOFError, ConnectionResetError):
            sys.exit(0)
        maps = open_maps(descriptors)
        poll = select.poll()
        poll.register(peer, select.POLLIN)
        while not poll.poll(_LOOK_MS):
            _continue_stopped(maps["stopped"], _PATIENCE_NS)
    maps["config"].set(_CONFIG_KEY, _NOTHING)  # no more stops, whoever is still attached
    for _ in range(_AFTERMATH_LOOKS):
        _continue_stopped(maps["stopped"], 0)
        time.sleep(_LOOK_MS / 1000)


def _continue_stopped(stopped: Map, patience_ns: int) -> None:
    now_ns = boottime_ns()
    for key in list(stopped.iter_keys()):
        since = stopped.maybe_get(key)
        if since is None or now_ns - int.from_bytes(since, "little") < patience_ns:
            continue
        stopped.discard(key)
        try:
            os.kill(int.from_bytes(key, "little"), signal.SIGCONT)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main(int(sys.argv[1]))
