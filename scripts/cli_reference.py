"""Write docs/cli.md from the help of every command.

usage: cli_reference.py OUT
"""

import contextlib
import io
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from qtapture.cli.app import COMMANDS, run

OPENING = """# Command line

Generated from `--help` by `make docs`; a test compares. stdout is data, stderr is talk; every
error is one line. Exit statuses are in the [README](../README.md#exit-statuses).
"""


def main(out: str) -> None:
    """Write it."""
    Path(out).write_text(reference(), encoding="utf-8")


def reference() -> str:
    """The whole page."""
    sections = [section(*names) for names in ((), *commands())]
    return "\n".join((OPENING, *sections))


def commands() -> list[tuple[str, ...]]:
    """Every command, each group followed by its members."""
    found: list[tuple[str, ...]] = []
    for name, row in COMMANDS.items():
        if find_spec(row.module) is None:
            continue
        found.append((name,))
        module = import_module(row.module)
        found += [(name, member) for member in getattr(module, "SUBCOMMANDS", ())]
    return found


def section(*names: str) -> str:
    """A heading and the help of one command."""
    heading = "#" * (2 + (len(names) > 1)) + " " + " ".join(("qtapture", *names))
    return f"{heading}\n\n```text\n{help_of(*names).rstrip()}\n```\n"


def help_of(*names: str) -> str:
    """What the command prints, at the width that it has without a terminal."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        run([*names, "--help"])
    return shown.getvalue()


if __name__ == "__main__":
    main(sys.argv[1])
