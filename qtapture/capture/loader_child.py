"""The child that loads the probes, hands over descriptors, and ends.

Run as ``python -m qtapture.capture.loader_child FD MEANS``: FD is a socket of the recorder's,
MEANS is JSON. What a loader needs (bcc: 120 MB of LLVM) ends with this process.
"""

import array
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

from qtapture.capture.bcc_loader import load_with_bcc
from qtapture.capture.core_loader import load_with_core
from qtapture.capture.features import Means
from qtapture.capture.loader import Loaded, means_from
from qtapture.capture.programs import ESSENTIAL
from qtapture.errors import HostError

__all__ = ["main"]

_LOADERS: Mapping[str, Callable[[Means], Loaded]] = {"bcc": load_with_bcc, "core": load_with_core}


def main(descriptor: int, words: str) -> None:
    """Load everything and send it; what goes wrong is sent as a line for a person."""
    with socket.socket(fileno=descriptor) as peer:
        try:
            answer, descriptors = _answer(_load(means_from(words)))
        except HostError as error:
            answer, descriptors = {"error": str(error)}, []
        body = json.dumps(answer).encode()
        peer.sendall(len(body).to_bytes(4, "little"))
        rights = array.array("i", descriptors)
        sent = peer.sendmsg([body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        peer.sendall(body[sent:])
    # bcc's own clean-up at exit fails without tracefs, and takes time.
    os._exit(0)


def _load(means: Means) -> Loaded:
    if means.loader != "auto":
        return _LOADERS[means.loader](means)
    try:
        loaded = load_with_bcc(means)
    except HostError as error:
        why = str(error)
    else:
        if not ESSENTIAL & loaded.refused.keys():
            return loaded
        why = "the kernel refuses essential programs as bcc compiles them"
    try:
        return load_with_core(means)
    except HostError as error:
        raise HostError(f"{why}; {error}") from None


def _answer(loaded: Loaded) -> tuple[dict[str, Any], list[int]]:
    answer = {
        "loader": loaded.loader,
        "programs": list(loaded.programs),
        "maps": list(loaded.maps),
        "refused": dict(loaded.refused),
    }
    return answer, [*loaded.programs.values(), *loaded.maps.values()]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
