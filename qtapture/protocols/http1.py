"""HTTP/1 in one direction: bytes in any pieces to messages, gaps and nonsense included.

A state machine as a table of methods. Offsets are those of the stream; what a message is made of
is known by the number and time of the segments that it came in.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from qtapture.events import Anomaly, Header, Message, Process
from qtapture.protocols.anomalies import AnomalyCode
from qtapture.protocols.body import StoredBody
from qtapture.protocols.http1_head import (
    REQUEST_LINE,
    STATUS_LINE,
    Framing,
    Head,
    parse_head,
    parse_lines,
)

__all__ = ["Draft", "Http1Parser", "Moment"]

# Twice what the most generous of common servers takes; longer heads are a bomb, or no HTTP.
_MOST_HEAD = 256 << 10
_MOST_TRAILERS = 64 << 10
_MOST_SIZE_LINE = 16 << 10  # chunk extensions
_MOST_LINE = 64 << 10  # searched for a beginning after a gap
_TELLING = 80  # bytes of a line that show whether a method or a version can stand there
_MOST_ANOMALIES = 64  # of one message
_HEAD_END = re.compile(rb"\n\r?\n")
_OVERLAP = 3  # bytes of a head's end that an earlier piece may have brought
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?", re.DOTALL)


class _State(Enum):
    START = auto()
    HEAD = auto()
    LENGTH = auto()
    CHUNK_SIZE = auto()
    CHUNK_DATA = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    CLOSE = auto()
    LOST = auto()
    OPAQUE = auto()


@dataclass(frozen=True, slots=True)
class Moment:
    """When, by whom and in which sample bytes were seen."""

    time_ns: int
    record: int
    process: Process | None


@dataclass(slots=True)
class Draft:
    """A message that is being read. ``message`` is set when it has ended."""

    offset: int
    first: Moment
    head: Head = field(default_factory=Head)
    headers_size: int = 0
    body: StoredBody = field(default_factory=StoredBody)
    trailers: list[Header] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)
    incomplete: str = ""
    message: Message | None = None

    @property
    def informational(self) -> bool:
        """A 1xx that another answer follows; 101 is the answer itself."""
        return 100 <= self.head.status < 200 and self.head.status != 101  # noqa: PLR2004


# Told of each head: whether the direction goes on as HTTP, and how the body ends.
_Began = Callable[[Draft], Framing | None]


class Http1Parser:
    """One direction. ``began`` is asked at each head: a response's framing hangs on its request.

    It returns the framing, or None where something else than HTTP follows the message.
    """

    def __init__(self, *, request: bool, began: _Began, lost: bool = False) -> None:
        self._request = request
        self._began = began
        self._state = _State.LOST if lost else _State.START
        self._buffer = bytearray()
        self._searched = 0
        self._position = 0  # offset of the next byte
        self._draft: Draft | None = None
        self._left = 0
        self._now = Moment(0, 0, None)
        self._out: list[Draft] = []
        self._blank = False
        self._line_start = True
        self._tunnel = False
        self._spoke = lost  # HTTP was seen, or may have been before we came
        self._line_fits = False  # the first line of the head was looked at
        self._steps: dict[_State, Callable[[bytes, int], int]] = {
            _State.START: self._start,
            _State.HEAD: self._head,
            _State.LENGTH: self._length,
            _State.CHUNK_SIZE: self._chunk_size,
            _State.CHUNK_DATA: self._length,
            _State.CHUNK_END: self._chunk_end,
            _State.TRAILERS: self._trailers,
            _State.CLOSE: self._until_close,
            _State.LOST: self._lost,
        }

    @property
    def opaque(self) -> bool:
        """Nothing more of HTTP follows."""
        return self._state is _State.OPAQUE

    @property
    def lost(self) -> bool:
        """A beginning is being looked for."""
        return self._state is _State.LOST

    def feed(self, data: bytes, offset: int, moment: Moment) -> list[Draft]:
        """More bytes; the messages that end in them."""
        self._now = moment
        self._position = offset
        at = 0
        while at < len(data) and self._state is not _State.OPAQUE:
            took = self._steps[self._state](data, at)
            at += took
            self._position += took
        return self._taken()

    def gap(self, length: int | None, moment: Moment) -> list[Draft]:
        """Bytes are missing; None where nobody knows how many."""
        self._now = moment
        if self._state is _State.OPAQUE:
            return []
        known = length if length is not None else -1
        if self._state in {_State.LENGTH, _State.CHUNK_DATA} and 0 <= known <= self._left:
            self._left -= known
            self._mark_gap()
            self._position += known
            if self._left == 0:
                self._after_data()
        elif self._state is _State.CLOSE:
            self._mark_gap()
        else:
            self._give_up("gap")
        return self._taken()

    def close(self, moment: Moment, *, clean: bool) -> list[Draft]:
        """The connection ended; ``clean``: nothing was cut off."""
        self._now = moment
        if self._state is _State.CLOSE and clean and self._draft is not None:
            self._end(self._draft.incomplete)
        else:
            unclosed = self._state is _State.CLOSE
            self._give_up("close_delimited_unclosed" if unclosed else "cut")
        self._state = _State.OPAQUE
        return self._taken()

    def close_as_tunnel(self) -> None:
        """Something else than HTTP follows, from the end of the message that is being read."""
        self._tunnel = True
        if self._state in {_State.START, _State.LOST, _State.HEAD}:
            self._draft = None
            self._reset()
            self._state = _State.OPAQUE

    # ------------------------------------------------------------------ steps: bytes taken

    def _start(self, data: bytes, at: int) -> int:
        """Between messages: blank lines are skipped (RFC 9112 2.2), the rest begins a head."""
        if data[at] in b"\r\n":
            self._blank = True
            return 1
        self._draft = Draft(self._position, self._now)
        if self._blank:
            self._anomaly(AnomalyCode.LEADING_BLANK_LINE, self._position)
            self._blank = False
        self._state = _State.HEAD
        return 0

    def _head(self, data: bytes, at: int) -> int:
        found = self._collect(data, at, _HEAD_END, _MOST_HEAD)
        if found is None:
            return self._head_unfinished(len(data) - at)
        took, raw = found
        draft = self._draft
        assert draft is not None  # noqa: S101 - the state says so
        draft.head = parse_head(raw, request=self._request)
        draft.headers_size = len(raw)
        for code, offset, detail in draft.head.troubles:
            self._anomaly(code, draft.offset + offset, detail)
        if not draft.head.version:
            self._drop_head()
            self._line_start = True
            return took
        self._spoke = True
        draft.body.coded(draft.head.values(b"content-encoding"))
        self._position += took
        self._body(draft)
        self._position -= took
        return took

    def _head_unfinished(self, took: int) -> int:
        """A head goes on; is it still one?"""
        if not self._line_fits and not self._check_line():
            self._drop_head()
        elif len(self._buffer) > _MOST_HEAD:
            self._anomaly(AnomalyCode.HEADERS_TOO_LARGE, self._position)
            self._give_up("headers_too_large")
        return took

    def _check_line(self) -> bool:
        """Whether the first line is, or can still become, a start line."""
        end = self._buffer.find(b"\n", 0, _MOST_LINE)
        if end < 0:
            start = bytes(self._buffer[:_TELLING])
            return len(self._buffer) < _MOST_LINE and _may_begin(start, request=self._request)
        pattern = REQUEST_LINE if self._request else STATUS_LINE
        self._line_fits = pattern.fullmatch(_stripped(self._buffer[:end])) is not None
        return self._line_fits

    def _drop_head(self) -> None:
        """These bytes begin no message: look for one that does, if there ever was one."""
        self._draft = None
        self._reset()
        self._state = _State.LOST if self._spoke else _State.OPAQUE
        self._line_start = False

    def _length(self, data: bytes, at: int) -> int:
        took = self._data(data, at)
        if self._left == 0:
            self._position += took
            self._after_data()
            self._position -= took
        return took

    def _data(self, data: bytes, at: int) -> int:
        took = min(self._left, len(data) - at)
        if self._draft is not None:
            self._draft.body.append(data[at : at + took])
        self._left -= took
        return took

    def _chunk_size(self, data: bytes, at: int) -> int:
        found = self._collect(data, at, _LINE_END, _MOST_SIZE_LINE)
        if found is None:
            if len(self._buffer) > _MOST_SIZE_LINE:
                self._bad_chunk(AnomalyCode.BAD_CHUNK_SIZE)
            return len(data) - at
        took, line = found
        match = _CHUNK_SIZE.fullmatch(line.rstrip(b"\r\n"))
        if match is None:
            self._bad_chunk(AnomalyCode.BAD_CHUNK_SIZE)
            return took
        self._left = int(match[1], 16)
        self._state = _State.CHUNK_DATA if self._left else _State.TRAILERS
        return took

    def _chunk_end(self, data: bytes, at: int) -> int:
        """The line end behind a chunk's data."""
        if data[at : at + 1] == b"\r":
            return 1
        self._state = _State.CHUNK_SIZE
        if data[at : at + 1] == b"\n":
            return 1
        self._anomaly(AnomalyCode.BAD_CHUNK_END, self._position)
        return 0

    def _bad_chunk(self, code: AnomalyCode) -> None:
        self._anomaly(code, self._position)
        self._give_up("malformed")

    def _trailers(self, data: bytes, at: int) -> int:
        found = self._collect(data, at, _TRAILERS_END, _MOST_TRAILERS)
        if found is None:
            if len(self._buffer) > _MOST_TRAILERS:
                self._bad_chunk(AnomalyCode.HEADERS_TOO_LARGE)
            return len(data) - at
        took, raw = found
        draft = self._draft
        if draft is not None:
            odd = Head()
            draft.trailers, _ = parse_lines(raw, odd, 0)
            for code, offset, detail in odd.troubles:
                self._anomaly(code, self._position + took - len(raw) + offset, detail)
        self._position += took
        self._end(draft.incomplete if draft else "")
        self._position -= took
        return took

    def _until_close(self, data: bytes, at: int) -> int:
        if self._draft is not None:
            self._draft.body.append(data[at:])
        return len(data) - at

    def _lost(self, data: bytes, at: int) -> int:
        """Look for a line that begins a message; what is before it belongs to nobody."""
        end = data.find(b"\n", at) + 1 or len(data)
        if self._line_start and not self._buffer:
            self._draft = Draft(self._position, self._now)
        if self._line_start and len(self._buffer) < _MOST_LINE:
            self._buffer += data[at:end]
        if data[end - 1 : end] != b"\n":
            return end - at
        line = _stripped(self._buffer)
        pattern = REQUEST_LINE if self._request else STATUS_LINE
        fits = self._line_start and pattern.fullmatch(line) is not None
        self._line_start = True
        if not fits:
            self._draft = None
            self._reset()
        else:
            # The line stands in the buffer: the head goes on from there.
            self._searched = 0
            self._state = _State.HEAD
        return end - at

    # ------------------------------------------------------------------ transitions

    def _body(self, draft: Draft) -> None:
        framing = self._began(draft)
        if framing is None:
            self._tunnel = True
            framing = Framing.NONE
        self._left = draft.head.length
        if framing is Framing.LENGTH and self._left:
            self._state = _State.LENGTH
        elif framing is Framing.CHUNKED:
            self._state = _State.CHUNK_SIZE
        elif framing is Framing.CLOSE:
            self._state = _State.CLOSE
        else:
            self._end("")

    def _after_data(self) -> None:
        if self._state is _State.CHUNK_DATA:
            self._state = _State.CHUNK_END
        else:
            self._end(self._draft.incomplete if self._draft else "")

    def _mark_gap(self) -> None:
        if self._draft is not None:
            self._draft.incomplete = "gap"

    def _give_up(self, reason: str) -> None:
        """The message cannot be read on; a beginning is looked for."""
        draft = self._draft
        if draft is not None and draft.head.version:
            self._end(draft.incomplete or reason)
        self._draft = None
        self._reset()
        self._state = _State.OPAQUE if self._tunnel else _State.LOST
        self._line_start = True

    def _end(self, incomplete: str) -> None:
        draft = self._draft
        self._draft = None
        self._reset()
        self._state = _State.OPAQUE if self._tunnel else _State.START
        if draft is None:
            return
        draft.incomplete = incomplete
        draft.message = _message(draft, self._position, self._now)
        self._out.append(draft)

    def _reset(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._line_fits = False

    def _collect(
        self, data: bytes, at: int, pattern: re.Pattern[bytes], most: int
    ) -> tuple[int, bytes] | None:
        """Bytes up to the end of the pattern: how many of ``data``, and all of them."""
        before = len(self._buffer)
        self._buffer += data[at : at + most + _OVERLAP + 1]
        match = pattern.search(self._buffer, max(self._searched - _OVERLAP, 0))
        if match is None:
            self._searched = len(self._buffer)
            return None
        raw = bytes(self._buffer[: match.end()])
        self._reset()
        return match.end() - before, raw

    def _anomaly(self, code: AnomalyCode, offset: int, detail: str = "") -> None:
        draft = self._draft
        if draft is not None and len(draft.anomalies) < _MOST_ANOMALIES:
            message = "request" if self._request else "response"
            draft.anomalies.append(
                Anomaly(code=code.value, message=message, offset=offset, detail=detail)
            )

    def _taken(self) -> list[Draft]:
        out, self._out = self._out, []
        return out


_LINE_END = re.compile(rb"\n")
# Behind the last chunk: a blank line at once, or lines and then a blank one.
_TRAILERS_END = re.compile(rb"\A\r?\n|\n\r?\n")


def _may_begin(line: bytes, *, request: bool) -> bool:
    """Whether an unfinished line can still become a start line."""
    if not request:
        return line.startswith(b"HTTP/"[: len(line)])
    method = line.partition(b" ")[0]
    return _TOKEN.fullmatch(method) is not None


def _stripped(line: bytearray) -> bytes:
    """A line without its end."""
    return bytes(line).removesuffix(b"\n").removesuffix(b"\r")


_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")


def _message(draft: Draft, end: int, last: Moment) -> Message:
    head = draft.head
    return Message(
        offset=draft.offset,
        end=end,
        first_ns=draft.first.time_ns,
        last_ns=last.time_ns,
        start_line=head.start_line,
        version=head.version,
        method=head.method,
        target=head.target,
        status=head.status,
        reason=head.reason,
        headers=tuple(head.headers),
        raw_headers=head.raw_headers,
        trailers=tuple(draft.trailers),
        headers_size=draft.headers_size,
        wire_size=end - draft.offset,
        body=draft.body,
        complete=not draft.incomplete,
        incomplete_reason=draft.incomplete,
        anomalies=tuple(draft.anomalies),
        first_record=draft.first.record,
        last_record=last.record,
    )
