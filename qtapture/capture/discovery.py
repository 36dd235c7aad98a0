"""Deciding on files: each mapped file is looked at once, and hooked if there is a point in it.

Rule 1: an attachment is per inode, so every process that maps the file, now or later, has it.
Rule 2: the same file under two device numbers (an overlay and what lies below it) is one
        attachment: (build id, inode, size) names it.
Rule 3: a refused group of attach points is split and retried; each refusal costs itself alone.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from qtapture.capture.attach_points import LinkPlan, is_tls_library, plan_links, unhookable
from qtapture.capture.elf import ElfFacts
from qtapture.capture.mappings import FileKey, MappedFile, maybe_open
from qtapture.capture.parsing import FAILED, Parsed
from qtapture.capture.sites import Site, is_probeable
from qtapture.capture.uprobes import attach_uprobes

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
    sites: Mapping[str, Site] = field(default_factory=dict)  # by function
    probes: int = 0  # places that are probed
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
            "probes": self.probes,
            "functions": sorted(self.facts.functions),
            "sites": {name: _described(site) for name, site in self.sites.items()},
            "detail": "; ".join(self.problems),
        }


class Discovery:
    """All files looked at so far. Links are made from `arm` on; reading can begin before."""

    def __init__(self, parse: Callable[[IO[bytes]], Parsed], *, sites: bool = True) -> None:
        """``parse``: reads a file. ``sites``: use cheaper places than the exported functions."""
        self._parse = parse
        self._sites = sites
        self._programs: Mapping[str, int] | None = None
        self._linker = False
        self._attach_kind = "multi"
        self._by_key: dict[FileKey, Attachment | None] = {}
        self._by_identity: dict[tuple[str, int, int], Attachment] = {}
        self.new: list[Attachment] = []  # since they were last taken

    def arm(self, programs: Mapping[str, int], *, linker: bool, attach: str) -> None:
        """Hook what was found so far, and from now on what is found.

        ``programs`` are descriptors by name; ``linker``: the dynamic linker is hooked too;
        ``attach``: the kind of probe.
        """
        self._programs = programs
        self._attach_kind = attach
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
            _unlink(attachment)
            attachment.close_file()

    def _attach(self, found: MappedFile, file: IO[bytes]) -> Attachment | None:
        try:
            parsed = self._parse(file)
            status = os.fstat(file.fileno())
        except OSError:
            return None
        facts = parsed.facts
        other = unhookable(facts.names)
        failed = facts.detail == FAILED
        if not facts.functions and not other and not failed:
            return None
        identity = (facts.build_id, status.st_ino, status.st_size)
        if identity in self._by_identity:
            return self._by_identity[identity]
        attachment = Attachment(
            number=len(self._by_identity) + _FIRST_NUMBER,
            path=found.path,
            facts=facts,
            # What could not be read may be anything: it is told, like a library without a probe.
            tls=is_tls_library(facts.functions) or bool(other) or failed,
            file=file,
            links=[],
            sites=parsed.sites if self._sites else {},
            problems=_problems(facts, other),
        )
        self._by_identity[identity] = attachment
        self.new.append(attachment)
        if self._programs is not None:
            self._link_all(attachment)
        return attachment

    def _link_all(self, attachment: Attachment) -> None:
        self._link_each(attachment, attachment.sites)
        if attachment.problems and any(site.offsets for site in attachment.sites.values()):
            # Whatever was wrong with a place in mid-code, the exported functions stay.
            _unlink(attachment)
            why = "; ".join(attachment.problems)
            attachment.problems.clear()
            attachment.sites = {
                name: Site(kind="exported", emulated=False, why=why) for name in attachment.sites
            }
            self._link_each(attachment, {})
        attachment.close_file()  # the links hold the inode

    def _link_each(self, attachment: Attachment, sites: Mapping[str, Site]) -> None:
        functions = attachment.facts.functions
        for plan in plan_links(functions, linker=self._linker, sites=sites):
            self._link(attachment, plan)

    def _link(self, attachment: Attachment, plan: LinkPlan) -> None:
        program = (self._programs or {}).get(plan.program)
        if attachment.file is None:
            return
        if program is None:
            attachment.problems.append(f"{plan.program} was refused by the kernel")
            return
        if plan.checked and not _still_there(attachment.file, plan.offsets):
            attachment.problems.append(f"{plan.program}: the code has changed")
            return
        # The descriptor names the inode itself, whatever has become of the path.
        path = f"/proc/self/fd/{attachment.file.fileno()}"
        for group in _groups(plan.offsets):
            try:
                links = attach_uprobes(
                    self._attach_kind,
                    program,
                    path,
                    group,
                    attachment.number,
                    at_return=plan.at_return,
                )
            except OSError as error:
                if len(group) == 1:
                    place = f"{plan.program} at {group[0]:#x}"
                    attachment.problems.append(f"{place}: {error.strerror}")
                continue
            attachment.links += links
            attachment.probes += len(group)
            if len(group) == len(plan.offsets):
                return


def _problems(facts: ElfFacts, other: str) -> list[str]:
    if facts.detail == FAILED:
        return [facts.detail]
    return [f"no probe for {other}"] if other and not facts.functions else []


def _described(site: Site) -> dict[str, Any]:
    return {
        "kind": site.kind,
        "offsets": list(site.offsets),
        "emulated": site.emulated,
        "why": site.why,
    }


def _still_there(file: IO[bytes], offsets: tuple[int, ...]) -> bool:
    return all(is_probeable(os.pread(file.fileno(), 8, offset)) for offset in offsets)


def _unlink(attachment: Attachment) -> None:
    for link in attachment.links:
        os.close(link)
    attachment.links.clear()
    attachment.probes = 0


def _groups(offsets: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    """All at once, then, where that was refused, one by one."""
    yield offsets
    if len(offsets) > 1:
        for offset in offsets:
            yield (offset,)
