"""The attacher's end of the parser: files of strangers go in as descriptors, facts come out.

Reading an ELF file is where a hostile container could reach a privileged process. It happens in a
child without privileges and with little of everything; what it answers is checked like any input.
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from qtapture.capture.children import python_child
from qtapture.capture.elf import ElfFacts
from qtapture.capture.sites import Site

__all__ = ["FAILED", "Parsed", "Parser", "answer", "parsed_from"]

# The largest file seen (a browser of 300 MB) takes a second; the child has two of its own.
_SECONDS = 4.0
_TRIES = 2  # a child that died of something else is no fault of the file
_MOST_ANSWER = 1 << 20
_SIZE = 4
_KINDS = frozenset({"internal", "call", "exported"})
FAILED = "the parser failed on it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What one file offers, and the places proved in it by function."""

    facts: ElfFacts = field(default_factory=ElfFacts)
    sites: Mapping[str, Site] = field(default_factory=dict)


class Parser:
    """A child that parses; one that fails is replaced."""

    def __init__(self) -> None:
        self._start()

    @property
    def pid(self) -> int:
        """Its process: never to be recorded."""
        return self._child.pid

    def parse(self, file: IO[bytes]) -> Parsed:
        """Facts of an open file; of one that the child fails on, that it did."""
        for _ in range(_TRIES):
            file.seek(0)
            try:
                socket.send_fds(self._peer, [b"f"], [file.fileno()])
                return parsed_from(self._answer())
            except (OSError, ValueError, EOFError, RecursionError):
                self.close()
                self._start()
        return Parsed(facts=ElfFacts(detail=FAILED))

    def close(self) -> None:
        """End the child."""
        self._peer.close()
        self._child.kill()
        self._child.wait()

    def _start(self) -> None:
        self._child, self._peer = python_child("qtapture.capture.parser_child")

    def _answer(self) -> Any:
        size = int.from_bytes(self._exactly(_SIZE), "little")
        if size > _MOST_ANSWER:
            raise ValueError
        return json.loads(self._exactly(size))

    def _exactly(self, size: int) -> bytes:
        found = b""
        self._peer.settimeout(_SECONDS)
        while len(found) < size:
            piece = self._peer.recv(size - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found


def answer(parsed: Parsed) -> bytes:
    """The child's end of `Parser.parse`: its answer in bytes."""
    facts = parsed.facts
    words = {
        "functions": dict(facts.functions),
        "build_id": facts.build_id,
        "version": facts.version,
        "names": sorted(facts.names),
        "detail": facts.detail,
        "sites": {
            name: [site.kind, list(site.offsets), site.done, site.emulated, site.why]
            for name, site in parsed.sites.items()
        },
    }
    body = json.dumps(words).encode()
    return len(body).to_bytes(_SIZE, "little") + body


def parsed_from(words: Any) -> Parsed:
    """What an answer says.

    Raises:
        ValueError: it is none.
    """
    try:
        facts = ElfFacts(
            functions={_text(name): _offset(at) for name, at in words["functions"].items()},
            build_id=_text(words["build_id"]),
            version=_text(words["version"]),
            names=frozenset(_text(name) for name in words["names"]),
            detail=_text(words["detail"]),
        )
        sites = {_text(name): _site(row) for name, row in words["sites"].items()}
    except (AttributeError, KeyError, TypeError):
        raise ValueError(FAILED) from None
    return Parsed(facts=facts, sites=sites)


def _site(row: Any) -> Site:
    kind, offsets, done, emulated, why = row
    if kind not in _KINDS:
        raise ValueError(FAILED)
    return Site(
        kind=kind,
        offsets=tuple(_offset(at) for at in offsets),
        done=_text(done),
        emulated=bool(emulated),
        why=_text(why),
    )


def _offset(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError(FAILED)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(FAILED)  # noqa: TRY004 - of an answer, not of a caller
    return value
