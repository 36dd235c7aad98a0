"""What a HAR must be: the schema that everybody uses, and rules that no schema can say."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

from builders.node import NPM
from jsonschema import Draft6Validator
from referencing import Registry, Resource

_PHASES = ("blocked", "dns", "connect", "send", "wait", "receive")
_EXACT_MS = 1e-6


def violations(har: dict[str, Any]) -> list[str]:
    """Everything that is wrong with it, empty for a good one."""
    found = [f"schema: {error.json_path}: {error.message[:200]}" for error in _errors(har)]
    for number, entry in enumerate(har["log"]["entries"]):
        found += [f"entry {number}: {text}" for text in _entry(entry)]
    return found + _order(har["log"]["entries"])


def _entry(entry: dict[str, Any]) -> list[str]:
    """The semantic rules of the specification's prose."""
    timings = entry["timings"]
    total = sum(timings[phase] for phase in _PHASES if timings.get(phase, -1) >= 0)
    content = entry["response"]["content"]
    body = entry["response"]["bodySize"]
    encoded = content.get("encoding") == "base64"
    text = content.get("text", "")
    shown = len(base64.b64decode(text)) if encoded else None
    elsewhere = content.get("_qtapture", {})
    rules = {
        "time is not the sum of its phases": abs(entry["time"] - total) > _EXACT_MS,
        "ssl does not lie inside connect": timings.get("ssl", -1) > max(timings["connect"], -1),
        "a phase is negative": any(-1 < timings.get(p, -1) < 0 or timings[p] < -1 for p in _PHASES),
        "send, wait or receive is missing": any(
            timings[p] < 0 for p in ("send", "wait", "receive")
        ),
        "compression is not size less bodySize": body >= 0
        and "compression" in content
        and content["compression"] != content["size"] - body,
        "size is not that of the content": encoded
        and not {"file", "truncated"} & elsewhere.keys()
        and shown != content["size"],
        "no connection id": not entry.get("_connectionId"),
        "postData without text": "text" not in entry["request"].get("postData", {"text": ""}),
        "connection is no port": not entry.get("connection", "1").isdigit(),
        "cache is missing": "cache" not in entry,
    }
    return [name for name, broken in rules.items() if broken]


def _order(entries: list[dict[str, Any]]) -> list[str]:
    keys = [entry["_qtapture"]["t_ns"] for entry in entries]
    starts = [int(key["request_first"] or key["response_first"]) for key in keys]
    return [] if starts == sorted(starts) else ["entries are not in order of time"]


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
    return Draft6Validator(schemas["har.json"], registry=registry, format_checker=checker)
