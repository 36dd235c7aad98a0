"""`qtapture replay`: what was said, in order, for people or as JSON lines."""

from pathlib import Path
from typing import Annotated

import typer

from qtapture.cli.sessions import SIDES, SideArgument, opened

EXAMPLES = """
qtapture replay incident.qtap
qtapture replay -v incident.qtap | less
qtapture replay --json incident.qtap | jq 'select(.type == "exchange") | .url'
"""


def command(
    session: Annotated[Path, typer.Argument(help="The session file.", show_default=False)],
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show headers, bodies and processes too.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    side: Annotated[SideArgument, typer.Option("--side", help=SIDES)] = SideArgument.BEST,
) -> int:
    """Print what was said, in order.

    One line for each HTTP exchange: time, process, connection, request, answer, size, duration.
    Connections without any are listed when they end, with their verdict and its reasons.
    """
    from qtapture.cli.text import printable  # noqa: PLC0415
    from qtapture.replay import iter_json, iter_lines  # noqa: PLC0415

    analysis, status = opened(session, side)
    lines = iter_json(analysis) if json else iter_lines(analysis, verbose=verbose)
    for line in lines:
        typer.echo(line if json else printable(line))
    return status
