"""Reading JSON bodies of events whose fields may be missing, of another type, or hostile."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["maybe_object", "maybe_text", "number", "text", "texts"]

# The snapshot of one process with its arguments; the probe's own limit is 128 KiB of them.
_LONGEST_BODY = 4 << 20
_LARGEST = 1 << 64


def maybe_object(body: bytes | memoryview) -> Mapping[str, Any] | None:
    """The JSON object in an event's body, None where there is none."""
    if len(body) > _LONGEST_BODY:
        return None
    try:
        found = json.loads(bytes(body))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def number(body: Mapping[str, Any], name: str) -> int:
    """A whole number of up to 64 bits, 0 where there is none."""
    value = body.get(name)
    return value if isinstance(value, int) and 0 <= value < _LARGEST else 0


def maybe_text(body: Mapping[str, Any], name: str) -> str | None:
    """A text without lone surrogates, None where there is none."""
    value = body.get(name)
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "backslashreplace").decode()


def text(body: Mapping[str, Any], name: str) -> str:
    """A text, empty where there is none."""
    return maybe_text(body, name) or ""


def texts(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts; others in it are left out."""
    value = body.get(name)
    if not isinstance(value, list):
        return ()
    return tuple(
        part.encode("utf-8", "backslashreplace").decode() for part in value if isinstance(part, str)
    )
