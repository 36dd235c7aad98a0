"""Deciding on files: each mapped file is looked at once, and hooked if there is a point in it.

Rule 1: an attachment is per inode, so every process that maps the file, now or later, has it.
Rule 2: the same file under two device numbers (an overlay and what lies below it) is one
        attachment: (build id, inode, size) names it.
Rule 3: a refused group of attach points is split and retried; each refusal costs itself alone.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from qtapture.capture.attach_points import (
    FUNCTIONS,
    MARKERS,
    LinkPlan,
    is_tls_library,
    plan_links,
    unhookable,
)
from qtapture.capture.bpf import attach_uprobe_multi
from qtapture.capture.elf import ElfFacts, read_elf
from qtapture.capture.mappings import FileKey, MappedFile, maybe_open

__all__ = ["Attachment", "Discovery"]

# Libraries are numbered from 1: 0 in a sample would be no library.
_FIRST_NUMBER = 1


@dataclass(slots=True, kw_only=True)
class Attachment:
    """One file that has attach points, and what came of them."""

    number: int
    path: str
    facts: ElfFacts
    tls: bool
    file: IO[bytes] | None  # open until it is hooked
    links: list[int]
    problems: list[str]
    version: str = ""  # of the library beside it, where it does not say its own

    def close_file(self) -> None:
        """Close the file; once is enough."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def described(self) -> dict[str, Any]:
        """The body of a LIBRARY record (formats/session.md)."""
        return {
            "number": self.number,
            "path": self.path,
            "build_id": self.facts.build_id,
            "version": self.facts.version or self.version,
            "hooked": bool(self.links),
            "functions": sorted(self.facts.functions),
            "detail": "; ".join(self.problems),
        }


class Discovery:
    """All files looked at so far. Links are made from `arm` on; reading can begin before."""

    def __init__(self) -> None:
        self._programs: Mapping[str, int] | None = None
        self._linker = False
        self._by_key: dict[FileKey, Attachment | None] = {}
        self._by_identity: dict[tuple[str, int, int], Attachment] = {}
        self.new: list[Attachment] = []  # since they were last taken

    def arm(self, programs: Mapping[str, int], *, linker: bool) -> None:
        """Hook what was found so far, and from now on what is found.

        ``programs`` are descriptors by name; ``linker``: the dynamic linker is hooked too.
        """
        self._programs = programs
        self._linker = linker
        for attachment in self._by_identity.values():
            self._link_all(attachment)

    @property
    def decided(self) -> tuple[FileKey, ...]:
        """All files that were looked at."""
        return tuple(self._by_key)

    def is_decided(self, key: FileKey) -> bool:
        """Whether the file has been looked at."""
        return key in self._by_key

    def maybe_attachment(self, key: FileKey) -> Attachment | None:
        """What was attached to a file, None for most files."""
        return self._by_key.get(key)

    def decide(self, found: MappedFile) -> Attachment | None:
        """Look at one file, the first time only, and hook what can be."""
        if found.key in self._by_key:
            return self._by_key[found.key]
        file = maybe_open(found)
        if file is None:
            return None  # undecided: another process may still show it
        attachment = self._attach(found, file)
        if attachment is None or attachment.file is not file:
            file.close()
        self._by_key[found.key] = attachment
        return attachment

    def close(self) -> None:
        """Take every probe out."""
        for attachment in self._by_identity.values():
            for link in attachment.links:
                os.close(link)
            attachment.links.clear()
            attachment.close_file()

    def _attach(self, found: MappedFile, file: IO[bytes]) -> Attachment | None:
        try:
            facts = read_elf(file, FUNCTIONS, MARKERS)
            status = os.fstat(file.fileno())
        except OSError:
            return None
        other = unhookable(facts.names)
        if not facts.functions and not other:
            return None
        identity = (facts.build_id, status.st_ino, status.st_size)
        if identity in self._by_identity:
            return self._by_identity[identity]
        attachment = Attachment(
            number=len(self._by_identity) + _FIRST_NUMBER,
            path=found.path,
            facts=facts,
            tls=is_tls_library(facts.functions) or bool(other),
            file=file,
            links=[],
            problems=[f"no probe for {other}"] if other and not facts.functions else [],
        )
        self._by_identity[identity] = attachment
        self.new.append(attachment)
        if self._programs is not None:
            self._link_all(attachment)
        return attachment

    def _link_all(self, attachment: Attachment) -> None:
        for plan in plan_links(attachment.facts.functions, linker=self._linker):
            self._link(attachment, plan)
        attachment.close_file()  # the links hold the inode

    def _link(self, attachment: Attachment, plan: LinkPlan) -> None:
        program = (self._programs or {}).get(plan.program)
        if attachment.file is None:
            return
        if program is None:
            attachment.problems.append(f"{plan.program} was refused by the kernel")
            return
        # The descriptor names the inode itself, whatever has become of the path.
        path = f"/proc/self/fd/{attachment.file.fileno()}"
        for group in _groups(plan.offsets):
            try:
                link = attach_uprobe_multi(
                    program, path, group, attachment.number, at_return=plan.at_return
                )
            except OSError as error:
                if len(group) == 1:
                    place = f"{plan.program} at {group[0]:#x}"
                    attachment.problems.append(f"{place}: {error.strerror}")
                continue
            attachment.links.append(link)
            if len(group) == len(plan.offsets):
                return


def _groups(offsets: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    """All at once, then, where that was refused, one by one."""
    yield offsets
    if len(offsets) > 1:
        for offset in offsets:
            yield (offset,)
