"""`qtapture record`: record into a session file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
sudo qtapture record -o incident.qtap
sudo qtapture record --comm nginx --duration 5m
sudo qtapture record --pid 4242 --port 443
sudo qtapture record -- curl https://example.org/
sudo qtapture record -o - --duration 10s | zstd -t
"""
CONTEXT = {"allow_interspersed_args": False}


def command(  # noqa: PLR0913, PLR0917 - one for each option
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND ...]",
            help="Run COMMAND and record it and its descendants.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The session file; - for standard output."
        ),
    ] = None,
    pid: Annotated[
        list[int] | None, typer.Option("--pid", help="This process and its later children.")
    ] = None,
    comm: Annotated[
        list[str] | None,
        typer.Option("--comm", metavar="NAME", help="Processes of this name, and their children."),
    ] = None,
    user: Annotated[
        list[str] | None, typer.Option("--user", metavar="USER", help="Processes of this user.")
    ] = None,
    port: Annotated[
        list[int] | None, typer.Option("--port", help="Only connections with this port.")
    ] = None,
    no_children: Annotated[
        bool, typer.Option("--no-children", help="Leave out children born later.")
    ] = False,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="End after 30s, 5m, 1h.")
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="End at 500M, 4G; 0 for no limit. Default: 4G or a quarter of the space.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="SIZE", help="Rings in memory. Default: 64M."),
    ] = None,
    loader: Annotated[
        str, typer.Option("--loader", help="auto, bcc (compiles here) or core (compiled ahead).")
    ] = "auto",
    hooks: Annotated[
        str,
        typer.Option("--hooks", help="Socket calls: auto, socklen (Linux 6.3) or syscalls."),
    ] = "auto",
    attach: Annotated[
        str,
        typer.Option("--attach", help="Probes: auto, multi (Linux 6.6) or perf (slow to stop)."),
    ] = "auto",
    sites: Annotated[
        str,
        typer.Option("--sites", help="Places: auto (the cheapest that are proved) or exported."),
    ] = "auto",
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="FEATURE", help="Do as if this kernel lacked it (see doctor)."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
) -> int:
    """Record what processes say over the network into a session file.

    Without options the whole host is recorded, until Ctrl-C. Options that name processes add up;
    with COMMAND it is COMMAND and its descendants, and whoever else is named.

    The file holds decrypted traffic and is readable by root alone.
    """
    from qtapture.capture.features import Means  # noqa: PLC0415
    from qtapture.capture.kernel_config import Scope  # noqa: PLC0415
    from qtapture.capture.probes import DEFAULT_MEMORY  # noqa: PLC0415
    from qtapture.record import RecordOptions, record  # noqa: PLC0415
    from qtapture.record.options import parse_duration, parse_size, parse_user  # noqa: PLC0415

    scope = Scope(
        pids=tuple(pid or ()),
        comms=tuple(comm or ()),
        uids=tuple(parse_user(name) for name in user or ()),
        ports=tuple(port or ()),
        command=bool(command),
        children=not no_children,
    )
    options = RecordOptions(
        output=_output(output),
        scope=scope,
        command=tuple(command or ()),
        duration_ns=None if duration is None else parse_duration(duration),
        max_size=None if max_size is None else parse_size(max_size),
        memory=DEFAULT_MEMORY if memory is None else parse_size(memory),
        means=Means(loader=loader, attach=attach, hooks=hooks, sites=sites),
        without=frozenset(without or ()),
        force=force,
        argv=tuple(sys.argv),
    )
    return record(options)


def _output(name: str | None) -> Path | None:
    """The file: as asked, None for ``-``, else named by host and time."""
    import platform  # noqa: PLC0415

    from qtapture.timebase import read_anchor, utc_stamp  # noqa: PLC0415

    if name == "-":
        return None
    if name is not None:
        return Path(name)
    return Path(f"{platform.node()}-{utc_stamp(read_anchor().realtime_ns)}.qtap")
