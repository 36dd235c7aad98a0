"""`qtapture recover`: a whole session out of a damaged one."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
qtapture recover damaged.qtap
qtapture recover damaged.qtap -o whole.qtap && qtapture verify whole.qtap
"""


def command(
    session: Annotated[Path, typer.Argument(help="The session file.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to. By default NAME.recovered.qtap.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Write a new session with every readable chunk of a damaged or unclosed one.

    Where something is missing the new file says so, with the hashes on both sides; verify then
    calls it recovered. The damaged file is only read: keep it, it is the evidence.
    """
    from qtapture.errors import UsageError  # noqa: PLC0415 - only this command needs them
    from qtapture.export.output import OutputFile  # noqa: PLC0415
    from qtapture.session import open_session  # noqa: PLC0415
    from qtapture.session.recover import recover_session  # noqa: PLC0415

    reader = open_session(session)
    if reader.closed and not reader.findings:
        raise UsageError(f"{session} is whole: there is nothing to recover")
    path = output or session.with_name(f"{session.name.removesuffix('.qtap')}.recovered.qtap")
    target = OutputFile(path, force=force)
    try:
        found = recover_session(reader, session, target.stream)
        target.commit()
    except BaseException:
        target.abandon()
        raise
    left_out = f", {found.left_out} of another session left out" if found.left_out else ""
    typer.echo(f"{path}: {found.chunks} chunks, {found.holes} holes{left_out}")
