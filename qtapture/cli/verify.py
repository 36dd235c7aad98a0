"""`qtapture verify`: say whether a session is as its writer left it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qtapture.session import Verification

EXAMPLES = """
qtapture verify incident.qtap
qtapture verify --json incident.qtap | jq .findings
"""
_FINDING = 1


def command(
    session: Annotated[Path, typer.Argument(help="The session file.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Say whether a session is as its writer left it.

    Every frame's CRC, every payload's SHA-256 and every link of the hash chain is checked. Exit 0:
    intact, or recovered with every break stated; 1: damaged or never closed, each finding with its
    place.
    """
    from qtapture.session import verify_session  # noqa: PLC0415 - only this command needs it

    found = verify_session(session)
    text = _as_json(found) if json else _as_lines(session, found)
    typer.echo(text)
    return 0 if found.good else _FINDING


def _as_lines(session: Path, found: "Verification") -> str:
    from qtapture.cli.text import printable  # noqa: PLC0415

    lines = [
        f"{printable(str(session))}: {found.state}",
        f"chunks: {found.chunks}, bytes: {found.size}, holes: {found.holes}",
        f"chain head: {found.chain_head}",
        *(printable(str(finding)) for finding in found.findings),
    ]
    return "\n".join(lines)


def _as_json(found: "Verification") -> str:
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    facts = {
        "state": found.state,
        "chunks": found.chunks,
        "bytes": found.size,
        "holes": found.holes,
        "chain_head": found.chain_head,
        "first_ns": found.first_ns,
        "last_ns": found.last_ns,
        "findings": [asdict(finding) for finding in found.findings],
        "manifest": dict(found.manifest),
    }
    return json.dumps(facts, indent=2)
