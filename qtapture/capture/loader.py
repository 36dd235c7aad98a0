"""Programs and maps in the kernel, as descriptors; whoever loaded them is gone by then."""

import array
import json
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import IO, Any

from qtapture.capture.children import python_child
from qtapture.capture.features import Means, Without
from qtapture.errors import HostError

__all__ = ["Loaded", "PendingLoad", "means_from", "start_loading"]

_MOST_DESCRIPTORS = 253  # SCM_MAX_FD
_LOADING_SECONDS = 60  # on a slow, busy host; 0.5 s is usual
_OUTPUT_TAIL = 300  # of what a compiler said, in an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Descriptors by name, and the programs that the kernel refused with its reason."""

    loader: str  # bcc or core
    programs: Mapping[str, int]
    maps: Mapping[str, int]
    refused: Mapping[str, str]

    def close(self) -> None:
        """Give the descriptors back; links keep their programs alive."""
        for descriptor in (*self.programs.values(), *self.maps.values()):
            os.close(descriptor)


class PendingLoad:
    """A loader at work: others can be started while it compiles."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - outlives this call
        self._child, self._socket = python_child(
            "qtapture.capture.loader_child", json.dumps(asdict(means)), stderr=self._said.fileno()
        )
        self._socket.settimeout(_LOADING_SECONDS)

    def result(self) -> Loaded:
        """Wait for the child and take what it loaded.

        Raises:
            HostError: nothing could be loaded.
        """
        try:
            answer, descriptors = _receive(self._socket)
        except (OSError, ValueError, EOFError):
            self._child.kill()
            if self._means.loader == "auto":  # a compiler that crashes is no end
                return PendingLoad(replace(self._means, loader="core")).result()
            raise HostError(f"loading the probes failed: {self._words()}") from None
        finally:
            self._socket.close()
            self._child.wait()
        if "error" in answer:
            raise HostError(f"{answer['error']} {self._words()}".strip())
        count = len(answer["programs"])
        return Loaded(
            loader=answer["loader"],
            programs=dict(zip(answer["programs"], descriptors[:count], strict=True)),
            maps=dict(zip(answer["maps"], descriptors[count:], strict=True)),
            refused=answer["refused"],
        )

    def _words(self) -> str:
        """The end of what compiler and verifier printed, on one line."""
        self._said.seek(0)
        text = self._said.read().decode("utf-8", "replace")
        return " ".join(text.split())[-_OUTPUT_TAIL:]


def start_loading(means: Means) -> PendingLoad:
    """Start a child that loads the probes."""
    return PendingLoad(means)


def means_from(words: str) -> Means:
    """The child's end of `start_loading`."""
    facts = json.loads(words)
    return Means(**{**facts, "without": Without(facts["without"])})


def _receive(peer: socket.socket) -> tuple[dict[str, Any], list[int]]:
    size = int.from_bytes(_exactly(peer, 4), "little")
    rights = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
    body, ancillary, _, _ = peer.recvmsg(size, rights, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    body += _exactly(peer, size - len(body))
    return json.loads(body), list(descriptors)


def _exactly(peer: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = peer.recv(size - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found
