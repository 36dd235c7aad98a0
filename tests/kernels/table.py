"""The table of docs/kernel-support.md, from what guests wrote.

``python tests/kernels/table.py`` puts it into the page.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SUITES = {"bullseye": "Debian 11", "bookworm": "Debian 12", "trixie": "Debian 13"}
WAYS = (
    *("bcc", "core", "core, exported", "bcc, perf", "core, perf", "bcc, syscalls"),
    *("core, syscalls", "core, no cookie", "core, no atomics", "core, no ring losses"),
)
_BLOCK = re.compile(r"(<!-- results -->\n).*?(<!-- end -->)", re.DOTALL)


def written(results: Mapping[str, Any]) -> str:
    """One column a kernel, one line a way."""
    release = [re.sub(r"-\d+.*|\+.*", "", rows["kernel"]) for rows in results.values()]
    lines = [
        "| | " + " | ".join(f"{SUITES[suite]}" for suite in results) + " |",
        "|---|" + "---|" * len(results),
        "| Linux | " + " | ".join(".".join(r.split(".")[:2]) for r in release) + " |",
    ]
    for feature in next(iter(results.values()))["features"]:
        cells = ("yes" if rows["features"][feature] else "-" for rows in results.values())
        lines.append(f"| has `{feature}` | " + " | ".join(cells) + " |")
    for way in WAYS:
        cells = (_cell(rows["ways"].get(way, {})) for rows in results.values())
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    lines.append("| TLS in the kernel | " + " | ".join(map(_ktls, results.values())) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Mapping[str, Any]) -> str:
    good = row.get("exchanges") == [["GET", 200, True]] and not row["refused"]
    return f"whole ({row['attach']}, {row['hooks']})" if good else "fails"


def _ktls(rows: Mapping[str, Any]) -> str:
    row = rows["ktls"]
    if row.get("absent"):
        return "no `tls.ko`"
    found = row.get("verdicts") or [{"verdict": "fails", "reasons": []}]
    reasons = ", ".join(dict.fromkeys(found[0]["reasons"]))
    return found[0]["verdict"] + (f" ({reasons})" if reasons else "")


def main() -> None:
    """Write the table into the page."""
    folder = ROOT / "build" / "kernels"
    results = {s: json.loads((folder / s / "out" / "results.json").read_text()) for s in SUITES}
    page = ROOT / "docs" / "kernel-support.md"
    page.write_text(_BLOCK.sub(lambda m: m[1] + written(results) + m[2], page.read_text()))


if __name__ == "__main__":
    sys.exit(main())
