"""Shells that watch their children: a child that we stop would look like a suspended job to them.

Such a shell prints "Stopped" and takes the terminal back. Its direct children are therefore never
stopped; a library that they map is hooked as soon as it is seen.
"""

from collections.abc import Sequence
from pathlib import Path, PurePath

__all__ = ["SHELLS", "has_job_control", "watches_children"]

SHELLS = frozenset({"bash", "zsh", "fish", "ksh", "dash", "sh", "busybox", "ash", "tcsh", "csh"})
_TERMINALS = ("/dev/pts/", "/dev/tty", "/dev/console")
_TTY_FIELD = 4  # tty_nr in /proc/PID/stat, counted after the name in parentheses


def watches_children(pid: int) -> bool:
    """Whether a process is a shell with job control; False where it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        argv = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
        stdin = str((folder / "fd/0").readlink())
        stat = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    has_terminal = stat[_TTY_FIELD] != b"0"
    return has_terminal and has_job_control(argv, on_terminal=stdin.startswith(_TERMINALS))


def has_job_control(argv: Sequence[str], *, on_terminal: bool) -> bool:
    """POSIX sh: job control is for interactive shells: -i, or no script and no -c on a terminal."""
    if not argv or PurePath(argv[0].lstrip("-")).name not in SHELLS:
        return False
    flags = []
    for word in argv[1:]:
        if not word.startswith(("-", "+")):
            break
        flags.append(word)
    short = "".join(flag[1:] for flag in flags if not flag.startswith("--"))
    if "i" in short or "m" in short:
        return True
    return on_terminal and "c" not in short and len(flags) == len(argv) - 1
