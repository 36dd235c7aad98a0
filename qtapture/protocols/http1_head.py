"""The head of an HTTP/1 message: start line, header lines, and how the body is delimited.

Pure functions over whole heads. RFC 9112, but nothing is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from qtapture.events import Header
from qtapture.protocols.anomalies import AnomalyCode

__all__ = [
    "Framing",
    "Head",
    "Trouble",
    "is_start_line",
    "may_begin",
    "parse_head",
    "parse_lines",
]

# RFC 9110 5.6.2 token. The version makes it a request of HTTP/1 rather than any other line: it is
# looked for from the end, for a pattern of the whole line would try each blank of a long run.
_ASKED = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64})([ \t]++)(\S.*+)", re.DOTALL)
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_VERSION_SIZE = len(b"HTTP/1.1")
_STATUS_LINE = re.compile(rb"(HTTP/[0-9]\.[0-9])([ \t]+)([0-9]{3})(?:[ \t](.*))?", re.DOTALL)
_REQUEST_START = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}(?:[ \t].*)?", re.DOTALL)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_STATUSES = range(100, 600)  # RFC 9110 15: others are invalid, and are sent all the same
_DIGITS = re.compile(rb"0*+[0-9]{0,19}(?<=[0-9])")  # more is no length that anybody sends
# Canonical lines up to the blank one; possessive, for what fails must fail in linear time.
_PLAIN = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e]*+\r\n)*+\r\n")
_BLANKS = b" \t"
# RFC 9110 9, RFC 5789, RFC 4918 9, RFC 3253 3.6, RFC 5323, and those of UPnP.
_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK "
    b"UNLOCK REPORT SEARCH QUERY M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE".split()
)
_BLANK = re.compile(rb"[ \t]")

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
    transfer_codings: list[bytes] = field(default_factory=list)  # without chunked

    def values(self, name: bytes) -> list[bytes]:
        """All values of a header, in order."""
        return [h.value for h in self.headers if h.name.lower() == name]

    def note(self, code: AnomalyCode, offset: int = 0, detail: str = "") -> None:
        """Mark something odd."""
        self.troubles.append((code, offset, detail))


def is_start_line(line: bytes, *, request: bool, ragged: bool = False) -> bool:
    """Whether a line (its end included) begins a message.

    ``ragged``: its own beginning may be missing, and the rest of a method is a token too.
    """
    if not request:
        return _STATUS_LINE.fullmatch(_line_of(line)) is not None
    parts = _split_request_line(_line_of(line))
    return parts is not None and (not ragged or parts[0] in _METHODS)


def may_begin(line: bytes, *, request: bool, ragged: bool = False) -> bool:
    """Whether the beginning of a line can still become a start line."""
    if not request:
        return line.startswith(b"HTTP/"[: len(line)])
    if ragged:
        method = _BLANK.split(line, maxsplit=1)[0]
        whole = len(method) < len(line)
        return method in _METHODS if whole else any(m.startswith(method) for m in _METHODS)
    return _REQUEST_START.fullmatch(line) is not None


def parse_head(raw: bytes, *, request: bool, whole: bool = True) -> Head:
    """A head, blank line included; never raises.

    ``whole`` False: it is cut; its last line, which nobody knows the end of, is in
    ``raw_headers`` only.
    """
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
    lines = block if whole else block[: block.rfind(b"\n") + 1]
    head.headers, canonical = parse_lines(lines, head, end)
    if not canonical or len(lines) < len(block):
        head.raw_headers = block
    _frame(head, request=request)
    if request and whole:
        _check_host(head)
    return head


def parse_lines(block: bytes, head: Head, base: int) -> tuple[list[Header], bool]:
    """Header lines (or trailers); whether all were in canonical form."""
    if _PLAIN.fullmatch(block):
        return [_plain_header(line) for line in block[:-4].split(b"\r\n") if line], True
    # Values in parts: joining at each folded line would be quadratic.
    found: list[tuple[bytes, list[bytes]]] = []
    canonical = True
    seen: set[AnomalyCode] = set()
    for offset, line, ending in _iter_lines(block):
        if not line:
            continue
        codes = _oddities(line, ending)
        if line[:1] in (b" ", b"\t"):
            codes.append(AnomalyCode.FOLDED_HEADER)
            _fold(found, line)
        else:
            name, value = _header(line, codes)
            found.append((name, [value]))
        canonical = canonical and not codes
        for code in codes:
            if code not in seen:  # once for each kind: a bomb of them says no more
                seen.add(code)
                head.note(code, base + offset)
    return [
        Header(name=name, value=b" ".join(filter(None, parts))) for name, parts in found
    ], canonical


def _plain_header(line: bytes) -> Header:
    name, _, value = line.partition(b":")
    return Header(name=name, value=value.strip(_BLANKS))


def _iter_lines(block: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    at = 0
    while at < len(block):
        end = block.find(b"\n", at) + 1 or len(block)
        raw = block[at:end]
        line = _line_of(raw)
        yield at, line, raw[len(line) :]
        at = end


def _line_of(raw: bytes) -> bytes:
    return raw[:-1].removesuffix(b"\r") if raw.endswith(b"\n") else raw


def _oddities(line: bytes, ending: bytes) -> list[AnomalyCode]:
    codes = []
    if ending == b"\n":
        codes.append(AnomalyCode.BARE_LF)
    if b"\r" in line:
        codes.append(AnomalyCode.BARE_CR)
    if not line.isascii() and not _is_utf8(line):
        codes.append(AnomalyCode.NON_ASCII)
    if _CONTROL.search(line):
        codes.append(AnomalyCode.CONTROL_CHARACTER)
    return codes


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _header(line: bytes, codes: list[AnomalyCode]) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon:
        codes.append(AnomalyCode.BAD_HEADER_LINE)
        return line.strip(_BLANKS), b""
    if name[-1:] in (b" ", b"\t"):
        codes.append(AnomalyCode.SPACE_BEFORE_COLON)
        name = name.rstrip(_BLANKS)
    if _TOKEN.fullmatch(name) is None:
        codes.append(AnomalyCode.BAD_HEADER_NAME)
    return name, value.strip(_BLANKS)


def _fold(found: list[tuple[bytes, list[bytes]]], line: bytes) -> None:
    """RFC 9112 5.2: a folded value continues the one before it, joined by one space."""
    text = line.strip(_BLANKS)
    if found:
        found[-1][1].append(text)
    else:
        found.append((text, []))


def _split_request_line(line: bytes) -> tuple[bytes, bytes, bytes, bool] | None:
    """Method, target, version, and whether anything but single spaces is between them."""
    text = line.rstrip(b" \t\r")
    version = text[-_VERSION_SIZE:]
    if _VERSION.fullmatch(version) is None:
        return None
    before = text[:-_VERSION_SIZE]
    asked = before.rstrip(_BLANKS)
    match = _ASKED.fullmatch(asked)
    if match is None or len(asked) == len(before):
        return None
    method, blanks, target = match.groups()
    single = blanks == b" " and before[len(asked) :] == b" " and text == line
    return method, target, version, not single or _BLANK.search(target) is not None


def _request_line(head: Head) -> None:
    parts = _split_request_line(head.start_line)
    if parts is None:
        head.note(AnomalyCode.BAD_START_LINE)
        return
    method, head.target, version, odd = parts
    head.method = method.decode("ascii")
    head.version = version.decode("ascii")
    _check_start_line(head, odd=odd)


def _status_line(head: Head) -> None:
    match = _STATUS_LINE.fullmatch(head.start_line)
    if match is None:
        head.note(AnomalyCode.BAD_START_LINE)
        return
    head.version = match[1].decode("ascii")
    head.status = int(match[3])
    reason = match[4] or b""
    head.reason = reason.decode("utf-8" if _is_utf8(reason) else "latin-1")
    _check_start_line(head, odd=match[2] != b" " or head.status not in _STATUSES)


def _check_start_line(head: Head, *, odd: bool) -> None:
    if odd:
        head.note(AnomalyCode.BAD_START_LINE)
    for code in _oddities(head.start_line, b""):
        head.note(code)


def _frame(head: Head, *, request: bool) -> None:
    """RFC 9112 6.3, without refusing anything."""
    lengths = _lengths(head)
    codings = b",".join(head.values(b"transfer-encoding")).lower().split(b",")
    names = [coding.strip(_BLANKS) for coding in codings if coding.strip(_BLANKS)]
    if names and lengths is not None:
        head.note(AnomalyCode.CL_AND_TE)
    names = [name for name in names if name != b"identity"]  # RFC 2616 had it: no coding at all
    if names.count(b"chunked") > 1:  # RFC 9112 6.1: once, and last
        head.note(AnomalyCode.CHUNKED_NOT_LAST)
    head.transfer_codings = [name for name in names if name != b"chunked"]
    if names and names[-1] == b"chunked":
        head.framing = Framing.CHUNKED
    elif names:
        if names.count(b"chunked") == 1 or request:
            head.note(AnomalyCode.CHUNKED_NOT_LAST)
        head.framing = Framing.CLOSE
    elif lengths is not None:
        head.framing, head.length = Framing.LENGTH, lengths
    else:
        head.framing = Framing.NONE if request else Framing.CLOSE


def _lengths(head: Head) -> int | None:
    """The length that delimits, None where there is none that can be read."""
    values = [part.strip(_BLANKS) for v in head.values(b"content-length") for part in v.split(b",")]
    if not values:
        return None
    # int() refuses long rows of digits, zeros too.
    good = [int(value.lstrip(b"0") or b"0") for value in values if _DIGITS.fullmatch(value)]
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
