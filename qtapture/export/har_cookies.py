"""Cookies as HAR lists them: every pair in order, duplicates kept, percent-decoded."""

from email.utils import parsedate_to_datetime
from typing import Any

from qtapture.events import Message
from qtapture.export.attribution import text_of
from qtapture.export.urls import percent_decoded

__all__ = ["request_cookies", "response_cookies"]

Row = dict[str, Any]
_TEXTS = {b"path": "path", b"domain": "domain", b"samesite": "sameSite"}
_FLAGS = {b"httponly": "httpOnly", b"secure": "secure"}


def request_cookies(message: Message) -> list[Row]:
    """The pairs of every Cookie header (RFC 6265 4.2.1)."""
    lines = (header.value for header in message.headers if header.name.lower() == b"cookie")
    return [_pair(part) for line in lines for part in line.split(b";") if part.strip()]


def response_cookies(message: Message) -> list[Row]:
    """One for each Set-Cookie header."""
    lines = (header.value for header in message.headers if header.name.lower() == b"set-cookie")
    return [_set_cookie(line) for line in lines]


def _set_cookie(line: bytes) -> Row:
    """RFC 6265 5.2, as far as HAR has fields for it; of an attribute said twice, the last holds."""
    pair, *attributes = line.split(b";")
    row = _pair(pair)
    for attribute in attributes:
        key, _, raw = attribute.partition(b"=")
        word = text_of(raw.strip())
        name = key.strip().lower()
        if name in _TEXTS:
            row[_TEXTS[name]] = word
        elif name in _FLAGS:
            row[_FLAGS[name]] = True
        elif name == b"expires" and (date := _maybe_date(word)):
            row["expires"] = date
    return row


def _pair(raw: bytes) -> Row:
    name, _, value = raw.strip().partition(b"=")
    return {"name": percent_decoded(name.strip()), "value": percent_decoded(value.strip())}


def _maybe_date(word: str) -> str | None:
    """A date as JSON has it; None for what is none: the header says what it was."""
    try:
        moment = parsedate_to_datetime(word)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # Dates of cookies are in UTC whatever zone they name (RFC 6265 5.1.1).
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
