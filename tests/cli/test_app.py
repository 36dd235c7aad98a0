"""The frame of the command line: help, errors, exit statuses and what start-up imports."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import typer

from qtapture.cli.app import COMMANDS, CommandRow, run
from qtapture.cli.errors import guarded
from qtapture.cli.text import printable
from qtapture.errors import FormatError, HostError, NotASessionError, UsageError

# Each costs more than the rest of start-up together, or belongs to some commands only.
HEAVY = {"rich", "pydantic", "orjson", "zstandard", "dpkt", "elftools", "brotli", "asyncio"}


@pytest.fixture
def with_command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a function in the place of a command."""

    def put(function: Callable[..., object], name: str = "record", **attributes: object) -> None:
        module = ModuleType("qtapture.cli.pretended")
        module.command = function
        for key, value in attributes.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, "qtapture.cli.pretended", module)
        row = CommandRow(module="qtapture.cli.pretended", summary="Pretend.")
        monkeypatch.setitem(COMMANDS, name, row)

    return put


def modules_after(*args: str) -> set[str]:
    """Top-level modules that one run of the program imports."""
    command = [sys.executable, "-X", "importtime", "-m", "qtapture", *args]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    assert len(lines) > 20
    return {line.rpartition("|")[2].strip() for line in lines}


def test_help_imports_no_heavy_package_and_no_command() -> None:
    modules = modules_after("--help")
    assert not {name.partition(".")[0] for name in modules} & HEAVY
    assert not {row.module for row in COMMANDS.values()} & modules


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_a_command_imports_no_heavy_package_and_no_other_command(name: str) -> None:
    modules = modules_after(name, "--help")
    assert not {module.partition(".")[0] for module in modules} & (HEAVY - {"orjson"})
    others = {row.module for other, row in COMMANDS.items() if other != name}
    assert not others & modules


def test_help_lists_every_command_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, row in COMMANDS.items():
        assert any(line.split() == [name, *row.summary.split()] for line in shown.splitlines()), (
            name
        )


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    from qtapture import __version__

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"qtapture {__version__}\n"


@pytest.mark.parametrize(
    ("args", "status"),
    [
        ([], 2),
        (["--bogus"], 2),
        (["bogus"], 2),
        (["record", "--bogus"], 2),
        (["record", "--bogus", "--", "true"], 125),
        (["record", "--number", "x"], 2),
        (["record", "--number"], 2),
    ],
)
def test_a_usage_error_is_one_line(
    args: list[str],
    status: int,
    with_command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(number: int = 0) -> None:
        raise AssertionError(number)

    with_command(command)
    assert run(args) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("qtapture: ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("no such pid: 7"), 2, "no such pid: 7"),
        (HostError("needs root"), 3, "needs root"),
        (FormatError("bad chunk", offset=12), 1, "bad chunk (at byte 12)"),
        (NotASessionError("no header", offset=0), 4, "no header (at byte 0)"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.qtap"), 2,
         "x.qtap: No such file or directory"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "x: No space left on device"),
        (ValueError("odd"), 1, "internal error: ValueError: odd (QTAPTURE_DEBUG=1 shows where)"),
        (AssertionError(), 1, "internal error: AssertionError (QTAPTURE_DEBUG=1 shows where)"),
        (KeyboardInterrupt(), 130, None),
        (typer.Exit(17), 17, None),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_its_documented_status(
    error: BaseException,
    status: int,
    line: str | None,
    with_command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> None:
        raise error

    with_command(command)
    assert run(["record"]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == ("" if line is None else f"qtapture: {line}\n")


def test_our_failure_before_the_recorded_command_starts_is_125(
    with_command: Callable[..., None],
) -> None:
    def command(command: list[str]) -> None:
        raise HostError(command[0])

    with_command(command)
    assert run(["record", "--", "true"]) == 125
    assert run(["record", "true"]) == 3


def test_a_status_is_passed_through(with_command: Callable[..., None]) -> None:
    with_command(lambda: 77)
    assert run(["record"]) == 77


def test_options_of_the_recorded_command_are_left_alone(with_command: Callable[..., None]) -> None:
    taken: list[list[str]] = []

    def command(command: list[str], keep: bool = False) -> None:
        assert not keep
        taken.append(command)

    with_command(command, CONTEXT={"allow_interspersed_args": False})
    assert run(["record", "--", "git", "log", "--keep", "--", "file"]) == 0
    assert run(["record", "git", "--keep"]) == 0
    assert taken == [["git", "log", "--keep", "--", "file"], ["git", "--keep"]]


def test_a_group_offers_its_subcommands(
    with_command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def har(session: str) -> int:
        """Write a HAR."""
        return len(session)

    with_command(har, "export", SUBCOMMANDS={"har": har, "trace": har})
    assert run(["export", "har", "four"]) == 4
    assert run(["export", "--help"]) == 0
    assert "Write a HAR." in capsys.readouterr().out
    assert run(["export", "bogus"]) == 2


def test_examples_are_shown_line_by_line(
    with_command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with_command(lambda: None, EXAMPLES="\nqtapture record  # one\nqtapture record  # two\n")
    assert run(["record", "--help"]) == 0
    assert "    qtapture record  # one\n    qtapture record  # two\n" in capsys.readouterr().out


def test_the_traceback_is_shown_when_asked_for(
    with_command: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command() -> None:
        raise ValueError("odd")

    with_command(command)
    monkeypatch.setenv("QTAPTURE_DEBUG", "1")
    assert run(["record"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_what_an_error_quotes_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        raise UsageError("file \x1b]0;owned\x07\nsecond line")

    assert guarded(body, []) == 2
    assert capsys.readouterr().err == "qtapture: file \\x1b]0;owned\\x07\\nsecond line\n"


def test_a_reader_that_goes_away_is_not_an_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "qtapture", "--help"]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert result.stderr == b""
    assert result.returncode == 141


def test_printable_keeps_text_and_escapes_what_a_terminal_acts_upon() -> None:
    assert printable("Grüße, 世界") == "Grüße, 世界"
    assert printable("a\x1b[31m\x9b\x00\u202eb\udcff") == "a\\x1b[31m\\x9b\\x00\\u202eb\\udcff"
