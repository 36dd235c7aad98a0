"""Starting processes of our own, each with a socket to its parent."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import qtapture

__all__ = ["python_child"]


def python_child(
    module: str, *arguments: str, pass_fds: tuple[int, ...] = (), stderr: int | None = None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Run a module of this package in a process of its own.

    Its first argument is the number of its end of a stream socket; ours is returned. The
    child's path has the folder that this package came from, never the working folder: root
    may stand in a folder that somebody else writes to.
    """
    ours, theirs = socket.socketpair()
    package = str(Path(qtapture.__file__).parent.parent)
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if stderr is None else stderr,
            stderr=stderr,
            pass_fds=(theirs.fileno(), *pass_fds),
            env={**os.environ, "PYTHONPATH": package},
            # A Ctrl-C on the terminal is the recorder's to handle.
            start_new_session=True,
        )
    return child, ours
