"""The commands, how they are put together, and what becomes of errors.

Rule 1: only the module of the command that was named is imported; ``--help`` needs none.
Rule 2: rich is never imported: it costs more than all of our own start-up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.main import get_command

from qtapture.cli.errors import guarded

__all__ = ["COMMANDS", "CommandRow", "build", "run"]

_ABOUT = """Record what processes say over the network, and replay it into open formats.

A recording is a session file (.qtap): what programs sent and received, seen before encryption
and after decryption, tied to process and socket, with an account of what was missed.
"""

_EXAMPLES = """
sudo qtapture record -o incident.qtap -- curl https://example.org/
qtapture info incident.qtap
qtapture export har incident.qtap
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """One command: the module that holds it, and its line in ``--help``."""

    module: str
    summary: str


COMMANDS: dict[str, CommandRow] = {
    "record": CommandRow(module="qtapture.cli.record", summary="Record into a session file."),
    "doctor": CommandRow(
        module="qtapture.cli.doctor", summary="Say whether this host can record, and what it lacks."
    ),
    "info": CommandRow(module="qtapture.cli.info", summary="Say what a session holds."),
    "verify": CommandRow(
        module="qtapture.cli.verify", summary="Say whether a session is as its writer left it."
    ),
    "recover": CommandRow(
        module="qtapture.cli.recover", summary="Make a whole session out of a damaged one."
    ),
    "replay": CommandRow(module="qtapture.cli.replay", summary="Print what was said, in order."),
    "export": CommandRow(
        module="qtapture.cli.export", summary="Write a session in another format."
    ),
}

# Typer's own texts and tracebacks both go through rich unless told otherwise.
_PLAIN: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
_HELP_NAMES: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


def run(args: Sequence[str]) -> int:
    """Run one command line and return the exit status; errors were told on stderr."""
    return guarded(lambda: _invoke(args), args)


def build(wanted: str | None = None) -> typer.Typer:
    """The whole command line, with the module of the command ``wanted`` alone loaded."""
    app = typer.Typer(
        help=_ABOUT, epilog=_verbatim(_EXAMPLES), context_settings=_HELP_NAMES, **_PLAIN
    )
    app.callback()(_options)
    for name, row in COMMANDS.items():
        if name == wanted:
            _add(app, name, row, import_module(row.module))
        else:
            app.command(name, help=row.summary)(_unloaded)
    return app


def _invoke(args: Sequence[str]) -> int:
    wanted = next((argument for argument in args if not argument.startswith("-")), None)
    command = get_command(build(wanted))
    with command.make_context("qtapture", list(args)) as context:
        status = command.invoke(context)
    return status if isinstance(status, int) else 0


def _add(app: typer.Typer, name: str, row: CommandRow, module: ModuleType) -> None:
    epilog = _verbatim(getattr(module, "EXAMPLES", ""))
    if hasattr(module, "SUBCOMMANDS"):
        group = typer.Typer(help=module.__doc__, short_help=row.summary, epilog=epilog, **_PLAIN)
        group.callback()(_nothing)
        for sub_name, function in module.SUBCOMMANDS.items():
            examples = getattr(module, "EXAMPLES_OF", {}).get(sub_name, "")
            _add_function(group, sub_name, function, epilog=_verbatim(examples))
        app.add_typer(group, name=name)
        return
    settings = getattr(module, "CONTEXT", {})
    _add_function(app, name, module.command, epilog=epilog, settings=settings)


def _add_function(
    app: typer.Typer,
    name: str,
    function: Callable[..., Any],
    *,
    epilog: str,
    settings: dict[str, Any] | None = None,
) -> None:
    app.command(name, epilog=epilog, context_settings={**_HELP_NAMES, **(settings or {})})(function)


def _verbatim(examples: str) -> str:
    """Examples as the help shows them: click keeps the lines of a paragraph after a backspace."""
    return f"\b\nExamples:\n{_indented(examples)}" if examples.strip() else ""


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())


def _show_version(value: bool) -> None:
    if value:
        from qtapture import __version__  # noqa: PLC0415

        typer.echo(f"qtapture {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    # The value is used by the callback alone.
    del version


def _nothing() -> None:
    # A group of commands without options of its own.
    pass


def _unloaded() -> None:
    # Stands in --help for a command whose module was not needed.
    raise AssertionError
