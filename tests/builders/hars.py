"""HARs written by the exporter, held to every rule there is before they are given back."""

import json
from collections.abc import Iterable
from pathlib import Path

import jsonschema
from builders.har_rules import violations
from builders.traffic import clock, feed, tables

from qtapture.events import Exchange, Tables, Traffic
from qtapture.export import EXPORTS, ExportOptions

_FORMATS = Path(__file__).parents[2] / "formats"
SCHEMA = json.loads((_FORMATS / "har-qtapture.schema.json").read_text())


def written(
    folder: Path,
    *exchanges: Exchange,
    survey: Tables | None = None,
    traffic: Iterable[Traffic] = (),
    **options: bool,
) -> dict:
    """Write ``out.har`` into the folder, hold it to all rules, and give it back."""
    path = folder / "out.har"
    connections = {e.connection.number: e.connection for e in exchanges}
    export = EXPORTS["har"].open(path, clock(), ExportOptions(force=True, **options))
    feed(export, survey or tables(*connections.values()), traffic, exchanges)
    return checked(path)


def checked(path: Path) -> dict:
    """A HAR of ours, held to all rules."""
    har = json.loads(path.read_bytes())
    assert violations(har) == []
    _validate(har["log"]["_qtapture"], "log")
    for entry in har["log"]["entries"]:
        jsonschema.validate(entry["_qtapture"], SCHEMA)
        for body in (entry["response"]["content"], entry["request"].get("postData", {})):
            if "_qtapture" in body:
                _validate(body["_qtapture"], "body")
    return har


def only(har: dict) -> dict:
    """Its only entry."""
    (entry,) = har["log"]["entries"]
    return entry


def _validate(value: object, name: str) -> None:
    jsonschema.validate(value, {"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})
