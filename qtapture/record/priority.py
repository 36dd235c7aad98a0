"""Being in time: the thread that empties rings comes before those that fill them."""

import contextlib
import os
import threading

__all__ = ["come_first"]

# Of nice(2). It copies memory for some milliseconds at a time; compression stays as it is.
_NICE = -10


def come_first() -> None:
    """Raise the priority of this thread alone, if that is allowed (CAP_SYS_NICE)."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
