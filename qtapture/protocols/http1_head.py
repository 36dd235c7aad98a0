"""The head of an HTTP/1 message: start line, header lines, and how the body is delimited.

Pure functions over whole heads. RFC 9112, but nothing is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from qtapture.events import Header
from qtapture.protocols.anomalies import AnomalyCode

__all__ = ["REQUEST_LINE", "STATUS_LINE", "Framing", "Head", "Trouble", "parse_head", "parse_lines"]

# RFC 9110 5.6.2 token. The version makes it a request of HTTP/1 rather than any other line.
REQUEST_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64})[ \t]+(\S.*?)[ \t]+(HTTP/[0-9]\.[0-9])"
)
STATUS_LINE = re.compile(rb"(HTTP/[0-9]\.[0-9])[ \t]+([0-9]{3})(?:[ \t](.*))?")
_DIGITS = re.compile(rb"[0-9]{1,19}")  # more is no length that anybody sends
_CANONICAL = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[ \t]*[^\r\n]*")
_BLANKS = b" \t"

Trouble = tuple[AnomalyCode, int, str]  # code, offset from the start of the head, detail


class Framing(Enum):
    """What ends a body."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


@dataclass(slots=True)
class Head:
    """A parsed head."""

    start_line: bytes = b""
    version: str = ""
    method: str = ""
    target: bytes = b""
    status: int = 0
    reason: str = ""
    headers: list[Header] = field(default_factory=list)
    raw_headers: bytes | None = None
    troubles: list[Trouble] = field(default_factory=list)
    framing: Framing = Framing.NONE
    length: int = 0

    def values(self, name: bytes) -> list[bytes]:
        """All values of a header, in order."""
        return [h.value for h in self.headers if h.name.lower() == name]

    def note(self, code: AnomalyCode, offset: int = 0, detail: str = "") -> None:
        """Mark something odd."""
        self.troubles.append((code, offset, detail))


def parse_head(raw: bytes, *, request: bool) -> Head:
    """A whole head, blank line included; never raises."""
    head = Head()
    end = raw.find(b"\n") + 1 or len(raw)
    head.start_line = _line_of(raw[:end])
    if raw[:end].endswith(b"\n") and not raw[:end].endswith(b"\r\n"):
        head.note(AnomalyCode.BARE_LF, end - 1)
    if request:
        _request_line(head)
    else:
        _status_line(head)
    block = raw[end:]
    head.headers, canonical = parse_lines(block, head, end)
    if not canonical:
        head.raw_headers = block
    _frame(head, request=request)
    if request:
        _check_host(head)
    return head


def parse_lines(block: bytes, head: Head, base: int) -> tuple[list[Header], bool]:
    """Header lines (or trailers); whether all were in canonical form."""
    headers: list[Header] = []
    canonical = True
    seen: set[AnomalyCode] = set()
    for offset, line, ending in _iter_lines(block):
        if not line:
            continue
        codes = _oddities(line, ending)
        if line[:1] in (b" ", b"\t"):
            codes.append(AnomalyCode.FOLDED_HEADER)
            _fold(headers, line)
        else:
            headers.append(_header(line, codes))
        canonical = canonical and not codes and bool(_CANONICAL.fullmatch(line))
        for code in codes:
            if code not in seen:  # once for each kind: a bomb of them says no more
                seen.add(code)
                head.note(code, base + offset)
    return headers, canonical


def _iter_lines(block: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    at = 0
    while at < len(block):
        end = block.find(b"\n", at) + 1 or len(block)
        raw = block[at:end]
        line = _line_of(raw)
        yield at, line, raw[len(line) :]
        at = end


def _line_of(raw: bytes) -> bytes:
    line = raw.removesuffix(b"\n")
    return line.removesuffix(b"\r") if line is not raw else line


def _oddities(line: bytes, ending: bytes) -> list[AnomalyCode]:
    codes = []
    if ending == b"\n":
        codes.append(AnomalyCode.BARE_LF)
    if b"\r" in line:
        codes.append(AnomalyCode.BARE_CR)
    if not line.isascii():
        codes.append(AnomalyCode.NON_ASCII)
    return codes


def _header(line: bytes, codes: list[AnomalyCode]) -> Header:
    name, colon, value = line.partition(b":")
    if not colon:
        codes.append(AnomalyCode.BAD_HEADER_LINE)
        return Header(name=line.strip(_BLANKS), value=b"")
    if name[-1:] in (b" ", b"\t"):
        codes.append(AnomalyCode.SPACE_BEFORE_COLON)
    return Header(name=name.rstrip(_BLANKS), value=value.strip(_BLANKS))


def _fold(headers: list[Header], line: bytes) -> None:
    """RFC 9112 5.2: a folded value continues the one before it, joined by one space."""
    if not headers:
        headers.append(Header(name=line.strip(_BLANKS), value=b""))
        return
    last = headers[-1]
    joined = b" ".join(part for part in (last.value, line.strip(_BLANKS)) if part)
    headers[-1] = Header(name=last.name, value=joined)


def _request_line(head: Head) -> None:
    match = REQUEST_LINE.fullmatch(head.start_line)
    if match is None:
        head.note(AnomalyCode.BAD_START_LINE)
        return
    head.method = match[1].decode("ascii")
    head.target = match[2]
    head.version = match[3].decode("ascii")
    if not head.target.isascii():
        head.note(AnomalyCode.NON_ASCII)


def _status_line(head: Head) -> None:
    match = STATUS_LINE.fullmatch(head.start_line)
    if match is None:
        head.note(AnomalyCode.BAD_START_LINE)
        return
    head.version = match[1].decode("ascii")
    head.status = int(match[2])
    head.reason = (match[3] or b"").decode("latin-1")


def _frame(head: Head, *, request: bool) -> None:
    """RFC 9112 6.3, without refusing anything."""
    lengths = _lengths(head)
    codings = b",".join(head.values(b"transfer-encoding")).lower().split(b",")
    names = [coding.strip(_BLANKS) for coding in codings if coding.strip(_BLANKS)]
    if names:
        if lengths is not None:
            head.note(AnomalyCode.CL_AND_TE)
        if names[-1] == b"chunked":
            head.framing = Framing.CHUNKED
            return
        if b"chunked" in names or request:
            head.note(AnomalyCode.CHUNKED_NOT_LAST)
        head.framing = Framing.CLOSE
        return
    if lengths is not None:
        head.framing, head.length = Framing.LENGTH, lengths
    else:
        head.framing = Framing.NONE if request else Framing.CLOSE


def _lengths(head: Head) -> int | None:
    """The length that delimits, None where there is none that can be read."""
    values = [part.strip(_BLANKS) for v in head.values(b"content-length") for part in v.split(b",")]
    if not values:
        return None
    good = [int(value) for value in values if _DIGITS.fullmatch(value)]
    shown = ", ".join(value[:24].decode("latin-1") for value in values[:8])
    if len(good) < len(values):
        head.note(AnomalyCode.BAD_CONTENT_LENGTH, detail=shown)
    if len(set(good)) > 1:
        head.note(AnomalyCode.CONFLICTING_CONTENT_LENGTH, detail=shown)
    elif len(values) > 1:
        head.note(AnomalyCode.DUPLICATE_CONTENT_LENGTH, detail=shown)
    return good[0] if good else None


def _check_host(head: Head) -> None:
    hosts = head.values(b"host")
    if not hosts and head.version == "HTTP/1.1":
        head.note(AnomalyCode.MISSING_HOST)
    elif len(hosts) > 1:
        head.note(AnomalyCode.DUPLICATE_HOST)
