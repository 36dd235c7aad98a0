"""What was observed as JSON that no terminal acts upon and no reader splits elsewhere."""

import json
import re
from typing import Any

import orjson

__all__ = ["json_bytes", "json_line"]

# JSON allows them unescaped, terminals act upon them, and some readers split lines at the last two:
# DEL, C1 controls, U+2028 and U+2029, as UTF-8.
_ESCAPED = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def json_bytes(value: Any) -> bytes:  # noqa: ANN401 - whatever JSON has
    """One value on one line, keys in the order given."""
    try:
        raw = orjson.dumps(value)
    except TypeError:  # lone surrogates, which are no UTF-8; integers beyond 64 bits
        raw = json.dumps(_legal(value), ensure_ascii=False, separators=(",", ":")).encode()
    return _ESCAPED.sub(_escape, raw)


def json_line(row: dict[str, Any]) -> bytes:
    """One row, with its line end, and nothing in it that is taken for another."""
    return json_bytes(row) + b"\n"


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode("utf-8"))


def _legal(value: Any) -> Any:  # noqa: ANN401 - whatever JSON has
    """The value with what is no character shown as Python shows it."""
    match value:
        case str():
            return _LONE_SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
        case dict():
            return {_legal(key): _legal(each) for key, each in value.items()}
        case list():
            return [_legal(each) for each in value]
        case _:
            return value
