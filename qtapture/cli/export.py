"""Write a session in another format."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qtapture.cli.sessions import SIDES, SideArgument, opened
from qtapture.errors import UsageError
from qtapture.export import EXPORTS, Export, ExportKind, ExportOptions

if TYPE_CHECKING:
    from qtapture.analysis import Analysis

EXAMPLES = """
qtapture export pcapng incident.qtap
qtapture export har incident.qtap -o - | jq .log.entries[].request.url
qtapture export streams incident.qtap -o streams/
"""


def _subcommand(name: str, kind: ExportKind) -> Callable[..., int]:
    def export(
        session: Annotated[Path, typer.Argument(help="The session file.", show_default=False)],
        output: Annotated[
            Path | None,
            typer.Option(
                "-o",
                "--output",
                help="Where to; - is stdout. By default the session's name with another ending.",
                metavar="FOLDER" if kind.folder else "FILE",
                show_default=False,
            ),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
        side: Annotated[SideArgument, typer.Option("--side", help=SIDES)] = SideArgument.BEST,
    ) -> int:
        path = _destination(session, output, kind)
        _refuse_early(path, session, force=force)
        analysis, status = opened(session, side)
        made = kind.open(path, analysis.clock, ExportOptions(force=force, no_files=path is None))
        _drive(made, analysis, kind)
        return status

    export.__doc__ = f"Write {kind.summary}."
    export.__name__ = name
    return export


def _with_files(name: str, kind: ExportKind) -> Callable[..., int]:
    """An export that may write large bodies beside itself, hence with one more option."""

    def export(
        session: Annotated[Path, typer.Argument(help="The session file.", show_default=False)],
        output: Annotated[
            Path | None,
            typer.Option(
                "-o",
                "--output",
                help="Where to; - is stdout. By default the session's name with another ending.",
                metavar="FILE",
                show_default=False,
            ),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
        side: Annotated[SideArgument, typer.Option("--side", help=SIDES)] = SideArgument.BEST,
        no_files: Annotated[
            bool, typer.Option("--no-files", help="Cut large bodies; write no files beside.")
        ] = False,
    ) -> int:
        path = _destination(session, output, kind)
        _refuse_early(path, session, force=force)
        analysis, status = opened(session, side)
        options = ExportOptions(force=force, no_files=no_files or path is None)
        _drive(kind.open(path, analysis.clock, options), analysis, kind)
        return status

    export.__doc__ = f"Write {kind.summary}."
    export.__name__ = name
    return export


def _destination(session: Path, output: Path | None, kind: ExportKind) -> Path | None:
    """Where the export goes; None is stdout."""
    if output is None:
        name = session.name.removesuffix(".qtap") + kind.suffix
        return session.with_name(name)
    if str(output) != "-":
        return output
    if kind.folder:
        raise UsageError("a folder cannot be written to stdout")
    return None


def _refuse_early(path: Path | None, session: Path, *, force: bool) -> None:
    """Say no before a long survey; the export itself checks again at the end."""
    if path is None:
        return
    if path.exists() and session.exists() and path.samefile(session):
        raise UsageError(f"{path}: is the session itself")
    if not force and (path.is_file() or path.is_dir()):
        raise UsageError(f"{path}: exists (--force replaces it)")


def _drive(export: Export, analysis: "Analysis", kind: ExportKind) -> None:
    """Feed one export from beginning to end; whatever fails, nothing is left behind."""
    from qtapture.events import Exchange, Gap, Segment  # noqa: PLC0415

    try:
        export.begin(analysis.tables)
        for item in analysis.iter_items() if kind.exchanges else analysis.iter_traffic():
            if isinstance(item, Exchange):
                try:
                    export.exchange(item)
                finally:
                    item.close()
            elif kind.segments or not isinstance(item, Segment | Gap):
                export.traffic(item)
        export.finish()
    except BaseException:
        export.abandon()
        raise


# Exports that put large bodies into files of their own.
_BESIDE = frozenset(("har",))

SUBCOMMANDS: dict[str, Callable[..., int]] = {
    name: (_with_files if name in _BESIDE else _subcommand)(name, kind)
    for name, kind in EXPORTS.items()
}
