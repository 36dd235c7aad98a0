"""Is a session as its writer left it?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtapture.session.reader import SessionReader, open_session
from qtapture.session.scan import Finding

__all__ = ["Verification", "verify_session"]

# What is found where a writer was ended: in the middle of a chunk, or behind the index.
_CUT = frozenset({"truncated", "manifest_missing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """``state``: intact, recovered (whole but for stated holes), unclosed or damaged."""

    state: str
    findings: tuple[Finding, ...]
    chunks: int
    size: int
    chain_head: str
    holes: int
    first_ns: int
    last_ns: int
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Nothing is there that its writer did not leave, and nothing is gone unsaid."""
        return self.state in {"intact", "recovered"}


def verify_session(path: Path) -> Verification:
    """Check every frame, hash and link of a session.

    Raises:
        NotASessionError: it is none, or nothing in it can be read.
        UsageError: it cannot be opened.
    """
    reader = open_session(path)
    return Verification(
        state=_state(reader),
        findings=reader.findings,
        chunks=reader.chunks,
        size=reader.size,
        chain_head=reader.chain_head,
        holes=len(reader.holes),
        first_ns=reader.first_ns,
        last_ns=reader.last_ns,
        manifest=reader.manifest,
    )


def _state(reader: SessionReader) -> str:
    if not reader.ended and {finding.code for finding in reader.findings} <= _CUT:
        return "unclosed"
    if reader.findings:
        return "damaged"
    return "recovered" if reader.holes else "intact"
