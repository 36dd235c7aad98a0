"""`qtapture info`: what a session holds, how whole it is, and what was missed."""

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qtapture.cli.sessions import SIDES, SideArgument, opened
from qtapture.cli.text import printable

if TYPE_CHECKING:
    from qtapture.analysis import Summary

EXAMPLES = """
qtapture info incident.qtap
qtapture info --json incident.qtap | jq '.connections[] | select(.verdict != "complete")'
"""

_Row = dict[str, Any]
# Of the header these are printed by other lines.
_TOLD = ("anchor", "argv")


def command(
    session: Annotated[Path, typer.Argument(help="The session file.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    side: Annotated[SideArgument, typer.Option("--side", help=SIDES)] = SideArgument.BEST,
) -> int:
    """Say what a session holds.

    Its header and ends, processes, connections with their verdicts, libraries, and the account
    of loss by kind: what the probes submitted must be in the file or counted as lost.
    """
    from qtapture.analysis import summarise  # noqa: PLC0415

    analysis, status = opened(session, side)
    summary = summarise(analysis)
    if json:
        typer.echo(json_module.dumps(summary.rows, ensure_ascii=True, indent=1))
    else:
        for line in _lines(summary):
            typer.echo(printable(line))
    if not summary.balanced:
        typer.echo("qtapture: the loss counts do not add up", err=True)
        return 1
    return status


def _lines(summary: "Summary") -> Iterator[str]:
    rows = summary.rows
    yield from _session_lines(rows)
    yield from _loss_lines(rows)
    yield from _library_lines(rows["libraries"])
    yield ""
    yield f"processes: {len(rows['processes'])}"
    for row in rows["processes"]:
        yield "  " + _process_line(row)
    verdicts = ", ".join(
        f"{count} {word}" for word, count in rows["coverage"]["verdicts"].items() if count
    )
    yield ""
    yield f"connections: {len(rows['connections'])}" + (f" ({verdicts})" if verdicts else "")
    for row in rows["connections"]:
        yield "  " + _connection_line(row)


def _session_lines(rows: _Row) -> Iterator[str]:
    for name, value in rows["session"].items():
        yield f"{name}: {value}"
    for name, value in rows["header"].items():
        if name not in rows["session"] and name not in _TOLD:
            yield f"{name}: {value if isinstance(value, str) else json_module.dumps(value)}"
    yield f"start: {rows['start']}"
    yield f"end: {rows['end']}{'' if rows['closed'] else ' (never closed)'}"
    for finding in rows["findings"]:
        yield f"damage: {finding}"
    for note in rows["notes"]:
        words = ", ".join(f"{name} {value}" for name, value in note.items() if name != "time")
        yield f"note: {note['time']} {words}"


def _loss_lines(rows: _Row) -> Iterator[str]:
    yield ""
    yield f"samples: {rows['samples']['total']}"
    for row in rows["loss"]:
        if row["submitted"] is None:
            yield f"  {row['kind']}: {row['in_file']} in the file"
            continue
        verdict = {True: "adds up", False: "DOES NOT ADD UP", None: "not final"}[row["adds_up"]]
        yield (
            f"  {row['kind']}: {row['submitted']} submitted = {row['in_file']} in the file"
            f" + {row['lost']} lost ({row['lost_bytes']} bytes), {verdict}"
            + (f"; {row['skipped']} skipped" if row["skipped"] else "")
        )
    for ring in rows["rings"]:
        if ring["lost"]:
            yield f"  ring {ring['ring']} of CPU {ring['cpu']}: {ring['lost']} lost"
    for name in ("stragglers", "malformed", "unknown"):
        if rows["samples"][name]:
            yield f"  {name}: {rows['samples'][name]}"


def _library_lines(libraries: list[_Row]) -> Iterator[str]:
    if libraries:
        yield ""
        yield f"libraries: {len(libraries)}"
    for row in libraries:
        hooked = "hooked" if row["hooked"] else "not hooked"
        yield "  " + " ".join(filter(None, (row["path"], row["version"], hooked, row["detail"])))


def _process_line(row: _Row) -> str:
    who = row["user"] or row["uid"]
    words = [f"{row['comm'] or '?'}[{row['pid']}]", f"user {who}" if who is not None else ""]
    words.append(" ".join(row["argv"]) or row["executable"])
    if row["exit_signal"]:
        words.append(f"(killed by signal {row['exit_signal']})")
    elif row["exit_code"]:
        words.append(f"(exited with {row['exit_code']})")
    return " ".join(filter(None, words))


def _connection_line(row: _Row) -> str:
    owner = f"{row['owner']['comm']}[{row['owner']['pid']}]" if row["owner"] else "?"
    codes = ", ".join(dict.fromkeys(reason["code"] for reason in row["reasons"]))
    words = [
        f"#{row['number']}",
        owner,
        f"{_place(row['client'])} -> {_place(row['server'])}",
        row["verdict"] + (f": {codes}" if codes else ""),
        row["error"] or "",
        f"{_size(row['bytes_c2s'])} c2s, {_size(row['bytes_s2c'])} s2c",
    ]
    return "  ".join(filter(None, words))


def _place(place: _Row | None) -> str:
    if place is None:
        return "?"
    host = f"[{place['ip']}]" if ":" in place["ip"] else place["ip"]
    return f"{host}:{place['port']}"


def _size(count: int | None) -> str:
    return "? B" if count is None else f"{count} B"
