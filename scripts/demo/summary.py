"""Ten lines on what the demo recorded, what it missed and why, and where to look.

usage: summary.py INFO.JSON ACCESS.LOG OUT
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

OPENED_WITH = {
    "demo.qtap": "qtapture info, replay",
    "demo.pcapng": "Wireshark, tshark",
    "demo.har": "browser developer tools: network, import",
    "demo.timeline.jsonl": "Timesketch, jq",
    "demo.trace.json": "ui.perfetto.dev",
    "demo.streams": "the bytes themselves: manifest.json",
}


def main(info_path: str, access_path: str, out: str) -> None:
    """Print it."""
    info = json.loads(Path(info_path).read_text())
    answered = [json.loads(line) for line in Path(access_path).read_text().splitlines()]
    har = json.loads((Path(out) / "demo.har").read_text())
    for made in sorted(Path(out).glob("demo.*")):
        print(f"{made}  {OPENED_WITH.get(made.name, '')}".rstrip())
    print()
    for name, text in summary(info, answered, har):
        print(f"{name + ':':<13}{text}")


def summary(
    info: dict[str, Any], answered: list[dict[str, Any]], har: dict[str, Any]
) -> list[tuple[str, str]]:
    """Name and text of each line."""
    connections = info["connections"]
    names = Counter(process["comm"] or "?" for process in info["processes"])
    whole = Counter(connection["verdict"] for connection in connections)
    decrypted = [c for c in connections if c["encrypted"] and c["verdict"] != "opaque"]
    joined = Counter((c["tls"] or {}).get("joined_by", "not joined") for c in decrypted)
    return [
        ("processes", f"{len(info['processes'])}: {counted(names)}"),
        ("connections", f"{len(connections)}: {counted(whole)}"),
        ("decrypted", f"{len(decrypted)}, TLS joined to sockets by: {counted(joined)}"),
        ("exchanges", f"{len(har['log']['entries'])} recorded, {len(answered)} answered by nginx"),
        ("on the wire", f"{sum(map(size, connections)):,} bytes"),
        ("samples", f"{info['samples']['total']}, {loss(info['loss'])}"),
        *missed(info),
    ]


def counted(counts: Counter[str]) -> str:
    """`3 curl, 1 python3`."""
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"


def size(connection: dict[str, Any]) -> int:
    """Bytes of both directions, as far as they are known."""
    return (connection["bytes_c2s"] or 0) + (connection["bytes_s2c"] or 0)


def loss(rows: list[dict[str, Any]]) -> str:
    """Whether every sample is accounted for."""
    lost = sum(row["lost"] or 0 for row in rows)
    uneven = [row["kind"] for row in rows if row["adds_up"] is False]
    account = f"does not add up: {', '.join(uneven)}" if uneven else "all accounted for"
    return f"{lost} lost, {account}"


def missed(info: dict[str, Any]) -> list[tuple[str, str]]:
    """What was not seen, each with its reason."""
    lines = []
    for connection in info["connections"]:
        if connection["verdict"] != "complete":
            owner = connection["owner"] or {"comm": "?", "pid": "?"}
            reasons = sorted({reason_words(reason) for reason in connection["reasons"]})
            lines.append(
                f"#{connection['number']} of {owner['comm']}[{owner['pid']}]: "
                f"{connection['verdict']}: {', '.join(reasons)}"
            )
    told = "".join(lines)
    lines += [
        f"{library['path']}: {library['detail']}"
        for library in info["libraries"]
        if not library["hooked"] and library["path"] not in told
    ]
    return [("not seen", line) for line in lines] or [("not seen", "nothing that is known of")]


def reason_words(reason: dict[str, Any]) -> str:
    """A reason's code with its detail."""
    return " ".join(filter(None, (reason["code"], reason.get("detail", ""))))


if __name__ == "__main__":
    main(*sys.argv[1:])
