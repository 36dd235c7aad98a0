"""What a HAR must be, anybody's: the schema that everybody uses, and rules that no schema can say.

The rules are those of the specification's prose, and what viewers trip over: Chrome's importer
(NaN), Firefox (no pages, no cache), haralyzer (a connection that is no number).
"""

import base64
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from builders.node import NPM
from jsonschema import Draft6Validator
from referencing import Registry, Resource

_PHASES = ("blocked", "dns", "connect", "send", "wait", "receive")  # ssl lies inside connect
_EXACT_MS = 1e-6
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def violations(har: dict[str, Any]) -> list[str]:
    """Everything that is wrong with it, empty for a good one."""
    found = [f"schema: {error.json_path}: {error.message[:200]}" for error in _errors(har)]
    if "pages" not in har["log"]:
        found.append("pages are missing")
    found += [f"{place} is no number" for place in _iter_nonsense(har)]
    for number, entry in enumerate(har["log"]["entries"]):
        found += [f"entry {number}: {text}" for text in _entry(entry)]
    return found + _order(har["log"]["entries"])


def _entry(entry: dict[str, Any]) -> list[str]:
    rules = _times(entry) | _sizes(entry) | _places(entry)
    return [name for name, broken in rules.items() if broken]


def _times(entry: dict[str, Any]) -> dict[str, bool]:
    timings = {name: value for name, value in entry["timings"].items() if name != "comment"}
    known = {name: value for name, value in timings.items() if value != -1}
    total = sum(known.get(phase, 0) for phase in _PHASES)
    return {
        "time is not the sum of its phases": abs(entry["time"] - total) > _EXACT_MS,
        "ssl does not lie inside connect": known.get("ssl", 0) > known.get("connect", 0),
        "a phase is negative": any(value < 0 for value in known.values()),
        "send, wait or receive is missing": not {"send", "wait", "receive"} <= known.keys(),
    }


def _sizes(entry: dict[str, Any]) -> dict[str, bool]:
    content = entry["response"].get("content", {})
    size, wire = content.get("size", -1), entry["response"]["bodySize"]
    shown = _shown(content)
    elsewhere = content.get("_qtapture", {}).keys() & {"file", "truncated"}
    return {
        "compression is not size less bodySize": wire >= 0
        and "compression" in content
        and content["compression"] != size - wire,
        "encoded content without compression": size >= 0
        and wire >= 0
        and content.get("compression", 0) != size - wire,
        "size is not that of the content": shown is not None and not elsewhere and shown != size,
        "a size is less than -1": any(
            entry[side][name] < -1
            for side in ("request", "response")
            for name in ("headersSize", "bodySize")
        ),
    }


def _shown(content: dict[str, Any]) -> int | None:
    """Bytes that the text stands for; None where there is none, or in an unknown charset."""
    text = content.get("text")
    if text is None:
        return None
    if content.get("encoding") == "base64":
        try:
            return len(base64.b64decode(text, validate=True))
        except ValueError:
            return -2  # nothing has this size
    charset = re.search(r"charset=[\"']?([\w:-]+)", content.get("mimeType", ""))
    if charset and charset[1].lower() in {"utf-16", "utf16"}:
        return None  # with a mark of its order or without
    try:
        return len(text.encode(charset[1] if charset else "utf-8"))
    except (LookupError, UnicodeError):
        return None


def _places(entry: dict[str, Any]) -> dict[str, bool]:
    return {
        "no connection id": not (entry.get("_connectionId") or entry.get("connection")),
        "connection is no port": not str(entry.get("connection", "1")).isdigit(),
        "cache is missing": "cache" not in entry,
        "postData without text": "text" not in entry["request"].get("postData", {"text": ""}),
        "no answer, and no word why": entry["response"]["status"] == 0
        and not entry["response"].get("_error"),
        "a URL with control characters": bool(_CONTROL.search(entry["request"]["url"])),
    }


def _order(entries: list[dict[str, Any]]) -> list[str]:
    starts = [moment for entry in entries if (moment := _moment(entry["startedDateTime"]))]
    return [] if starts == sorted(starts) else ["entries are not in order of time"]


def _moment(text: str) -> datetime | None:
    """None for what is no date, which the schema tells. Python 3.11 reads six digits."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None


def _iter_nonsense(value: Any, place: str = "$") -> Iterator[str]:
    match value:
        case float() if not math.isfinite(value):
            yield place
        case dict():
            for key, each in value.items():
                yield from _iter_nonsense(each, f"{place}.{key}")
        case list():
            for number, each in enumerate(value):
                yield from _iter_nonsense(each, f"{place}[{number}]")


def _errors(har: dict[str, Any]) -> list[Any]:
    return list(_validator().iter_errors(har))


@cache
def _validator() -> Draft6Validator:
    folder = NPM / "node_modules" / "har-schema" / "lib"
    assert folder.is_dir(), "npm packages are missing: run `make test-packages`"
    schemas = {path.name: json.loads(path.read_text()) for path in Path(folder).glob("*.json")}
    resources = [(schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()]
    registry = Registry().with_resources(resources)
    # Without the checker each serverIPAddress fits both of two formats, which is an error.
    checker = Draft6Validator.FORMAT_CHECKER
    # What is not installed is not checked, silently.
    assert {"uri", "date-time", "ipv4", "ipv6"} <= checker.checkers.keys()
    return Draft6Validator(schemas["har.json"], registry=registry, format_checker=checker)
