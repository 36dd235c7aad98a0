"""The parser's own process: reads ELF files that it is handed, and can do nothing else.

Run as ``python -m qtapture.capture.parser_child FD``. It gives up its user, its capabilities and
the way back before the first file comes, and may not write, open much or use much memory.
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from typing import IO

from qtapture.capture.attach_points import FAMILIES, FUNCTIONS, MARKERS
from qtapture.capture.elf import ElfFacts, read_code, read_elf
from qtapture.capture.parsing import Parsed, answer
from qtapture.capture.sites import Site, plan_site

__all__ = ["main", "parse"]

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_SIGKILL = 9
_LAST_CAPABILITY = 63  # more than any kernel has; those that are not there are no matter
_NOBODY = 65534
_MEMORY = 1 << 30  # address space: the largest symbol table seen takes 200 MiB
_FILES = 16
_SECONDS = 2.0  # of processor time for one file


def main(descriptor: int) -> None:
    """Answer for each file, until the other end goes away."""
    _become_nobody()
    with socket.socket(fileno=descriptor) as peer:
        while True:
            word, descriptors, _, _ = socket.recv_fds(peer, 1, 1)
            if not word:
                return
            signal.setitimer(signal.ITIMER_PROF, _SECONDS)  # its signal ends us
            with open(descriptors[0], "rb") as file:  # noqa: PTH123 - a descriptor
                peer.sendall(answer(parse(file)))
            signal.setitimer(signal.ITIMER_PROF, 0)


def parse(file: IO[bytes]) -> Parsed:
    """Facts and proved places of one file; whatever is wrong with it gives none."""
    try:
        facts = read_elf(file, FUNCTIONS, MARKERS)
        return Parsed(facts=facts, sites=_sites(file, facts))
    except (OSError, MemoryError) as error:
        return Parsed(facts=ElfFacts(detail=f"not readable: {type(error).__name__}"))


def _sites(file: IO[bytes], facts: ElfFacts) -> dict[str, Site]:
    families = [family for family in FAMILIES if family.plain in facts.functions]
    if not families:
        return {}
    code = read_code(file, [name for family in families for name in family.names])
    return {} if code is None else {f.plain: plan_site(code, f) for f in families}


def _become_nobody() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        for number in range(_LAST_CAPABILITY + 1):
            libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
        # A root without CAP_SETUID stays one, with no capability.
        with contextlib.suppress(PermissionError):
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _drop_capabilities(libc)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # After the change of user, which would undo it.
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    os.chdir("/")
    for what, limit in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Of one that was started with some and is not root: all three sets to nothing."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    libc.capset(header, (ctypes.c_uint32 * 6)())


if __name__ == "__main__":
    main(int(sys.argv[1]))
