"""`qtapture doctor`: can this host record, and what will be seen of a process?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from qtapture.capture.checks import Check

EXAMPLES = """
sudo qtapture doctor
sudo qtapture doctor --pid 4242
sudo qtapture doctor --json | jq .checks
"""
_MISSING = 1
_CANNOT = 3


def command(
    pid: Annotated[
        int | None,
        typer.Option("--pid", help="Say what will be seen of this process.", show_default=False),
    ] = None,
    cost: Annotated[
        int | None,
        typer.Option(
            "--cost",
            metavar="PID",
            help="Measure for three seconds what recording this process costs it.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Try everything that a recording needs, and say what to do about what fails.

    Exit 0: all is there; 1: recording works, with something missing; 3: this host cannot record.
    """
    from qtapture.capture.checks import (  # noqa: PLC0415
        HELPFUL_CAPABILITIES,
        NEEDED_CAPABILITIES,
        iter_checks,
    )

    if cost is not None:
        return _tell_cost(cost, json=json)
    libraries = None if pid is None else _libraries(pid)
    checks = list(iter_checks(Path.cwd()))
    if json:
        wanted = {**NEEDED_CAPABILITIES, **HELPFUL_CAPABILITIES}
        _print_json(checks, libraries, {name: why for name, (_, why) in wanted.items()})
    else:
        _print(checks, libraries)
    if any(check.needed and not check.good for check in checks):
        return _CANNOT
    return 0 if all(check.good for check in checks) else _MISSING


def _tell_cost(pid: int, *, json: bool) -> int:
    """What each program of ours costs a process, as it behaves right now."""
    from json import dumps  # noqa: PLC0415

    from qtapture.capture.cost import measure_cost  # noqa: PLC0415

    rows = _libraries(pid, everything=True)
    found = measure_cost(pid, {n: s for row in rows for n, s in row["sites"].items()})
    if json:
        typer.echo(dumps(found, indent=2))
        return 0
    price = found["probe"]
    typer.echo(
        f"a probe here, entry and return: {price['emulated_ns'] / 1000:.2f} us where the kernel "
        f"emulates the instruction, {price['stepped_ns'] / 1000:.2f} us where it steps over it"
    )
    for row in found["programs"]:
        typer.echo(
            f"{row['program']:<20} {row['per_second']:>10,.0f} a second, "
            f"{(row['trap_ns'] + row['run_ns']) / 1000:.2f} us each"
        )
    typer.echo(f"together {found['core']:.1%} of a core, as process {pid} behaves now")
    return 0


def _libraries(pid: int, *, everything: bool = False) -> list[dict[str, Any]]:
    """TLS libraries that a recording would find mapped by a process, or all that it hooks."""
    from qtapture.capture.discovery import Discovery  # noqa: PLC0415
    from qtapture.capture.mappings import iter_mappings, start_ticks  # noqa: PLC0415
    from qtapture.capture.parsing import Parser  # noqa: PLC0415
    from qtapture.errors import UsageError  # noqa: PLC0415

    if not start_ticks(pid):
        raise UsageError(f"no process {pid}")
    parser = Parser()
    discovery = Discovery(parser.parse)
    found = {id(a): a for m in iter_mappings(pid) if (a := discovery.decide(m)) is not None}
    rows = [attachment.described() for attachment in found.values() if attachment.tls or everything]
    discovery.close()
    parser.close()
    return rows


def _print(checks: "list[Check]", libraries: list[dict[str, Any]] | None) -> None:
    from qtapture.cli.text import printable  # noqa: PLC0415

    for check in checks:
        mark = "ok" if check.good else "NO" if check.needed else "--"
        typer.echo(f"{mark:3} {check.name}: {printable(check.detail)}")
        if not check.good and check.advice:
            typer.echo(f"    {check.advice}")
    for row in libraries or ():
        can = "plaintext at " + ", ".join(row["functions"]) if row["functions"] else row["detail"]
        typer.echo(f"sees {printable(row['path'])} {row['version']}: {printable(can)}")
        for name, site in row["sites"].items():
            typer.echo(f"     {name}: {_priced(site)}")
    if libraries is not None and not libraries:
        typer.echo("sees no TLS library in that process: sockets only, or a library without names")


def _priced(site: dict[str, Any]) -> str:
    """Where the probe of a function would stand, and what kind of price a call pays."""
    where = {
        "internal": "in the function below it",
        "call": "where it calls the function below it",
        "exported": "at its entry",
    }[site["kind"]]
    price = (
        "emulated in the trap, about 0.6 us"
        if site["emulated"]
        else "stepped over, 1 us to 14 us (a virtual machine's)"
    )
    return f"{where}, {price}" + (f" ({site['why']})" if site["why"] else "")


def _print_json(
    checks: "list[Check]", libraries: list[dict[str, Any]] | None, capabilities: dict[str, str]
) -> None:
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    facts = {
        "checks": [asdict(check) for check in checks],
        "capabilities": capabilities,
        "libraries": libraries,
    }
    typer.echo(json.dumps(facts, indent=2))
