"""What the commands that read a session share: opening it, and telling of its damage."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qtapture.cli.text import printable

if TYPE_CHECKING:
    from qtapture.analysis import Analysis

__all__ = ["SIDES", "SideArgument", "opened", "remark"]

SIDES = "Which end to show of a connection whose ends are both here."
_FINDING = 1  # exit status: damage, or not closed


class SideArgument(StrEnum):
    """The choices of ``--side``; `qtapture.analysis.SideChoice` by the same words."""

    BEST = "best"
    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"


def opened(path: Path, side: SideArgument = SideArgument.BEST) -> "tuple[Analysis, int]":
    """The analysis of a session, and the exit status: 1 with a line on stderr for damage.

    Raises:
        NotASessionError: nothing in it can be read.
        OSError: it cannot be opened.
    """
    from qtapture.analysis import SideChoice, open_analysis  # noqa: PLC0415

    analysis = open_analysis(path, side=SideChoice(side.value))
    said = remark(analysis)
    if said:
        typer.echo(f"qtapture: {printable(str(path))}: {printable(said)}", err=True)
    return analysis, _FINDING if said else 0


def remark(analysis: "Analysis") -> str:
    """What is wrong with the file, in one line; empty where nothing is."""
    words = []
    if analysis.findings:
        more = len(analysis.findings) - 1
        words.append(analysis.findings[0] + (f" and {more} more findings" if more else ""))
    if not analysis.closed:
        words.append("the recording was never closed: its end may be missing")
    return "; ".join(words)
