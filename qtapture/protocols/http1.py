"""HTTP/1 in one direction: bytes in any pieces to messages, gaps and nonsense included.

A state machine as a table of methods; each takes some bytes and says how many. Offsets are those of
the stream; what a message is made of is known by the number and time of the segments it came in.
"""

import re
from collections.abc import Callable
from enum import Enum, auto

from qtapture.protocols.anomalies import AnomalyCode
from qtapture.protocols.collector import Collector
from qtapture.protocols.draft import Draft, Moment
from qtapture.protocols.http1_head import (
    Framing,
    Head,
    is_start_line,
    may_begin,
    parse_head,
    parse_lines,
)

__all__ = ["Http1Parser"]

# Twice what the most generous of common servers takes; longer heads are a bomb, or no HTTP.
_MOST_HEAD = 256 << 10
_MOST_TRAILERS = 64 << 10
_MOST_SIZE_LINE = 16 << 10  # chunk extensions
_MOST_LINE = 64 << 10  # start lines: browsers and servers stop at half of it
_TELLING = 80  # bytes of a line that show whether a method or a version can stand there
_LINE_END = re.compile(rb"\n")
_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNK_SIZE = re.compile(rb"[ \t]*0*+([0-9A-Fa-f]{0,16})(?<=[0-9A-Fa-f])[ \t]*(?:;.*)?", re.DOTALL)
_PREFACE = b"PRI * HTTP/2.0"  # RFC 9113 3.4: what follows is another protocol


class _State(Enum):
    START = auto()
    LINE = auto()
    SKIP = auto()
    HEAD = auto()
    LENGTH = auto()
    CHUNK_SIZE = auto()
    CHUNK_DATA = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    CLOSE = auto()
    OPAQUE = auto()


# Told of each head: how the body ends, or None where something else than HTTP follows.
_Began = Callable[[Draft], Framing | None]


class Http1Parser:
    """One direction. ``began`` is asked at each head: a response's framing hangs on its request.

    ``lost``: the first bytes may be from the middle of a message; its next beginning is looked for.
    """

    def __init__(self, *, request: bool, began: _Began, lost: bool = False) -> None:
        self._request = request
        self._began = began
        self._state = _State.START
        self._collector = Collector()
        self._position = 0  # offset of the next byte
        self._draft: Draft | None = None
        self._left = 0  # of a body or chunk
        self._now = Moment(0, 0, None)  # of the last bytes seen
        self._out: list[Draft] = []
        self._lost = lost
        self._ragged = lost  # the line that comes may lack its beginning
        self._spoke = lost  # HTTP was seen, or may have been before we came
        self._blank: int | None = None  # where blank lines before a message began
        self._stray: int | None = None  # where bytes that belong to no message began
        self._tunnel = False
        self._carriage = False  # a CR came behind a chunk's data
        self._steps: dict[_State, Callable[[bytes, int], int]] = {
            _State.START: self._start,
            _State.LINE: self._line,
            _State.SKIP: self._skip,
            _State.HEAD: self._head,
            _State.LENGTH: self._length,
            _State.CHUNK_SIZE: self._chunk_size,
            _State.CHUNK_DATA: self._chunk_data,
            _State.CHUNK_END: self._chunk_end,
            _State.TRAILERS: self._trailers,
            _State.CLOSE: self._until_close,
        }

    @property
    def opaque(self) -> bool:
        """Nothing more of HTTP follows."""
        return self._state is _State.OPAQUE

    @property
    def lost(self) -> bool:
        """A beginning is being looked for."""
        return self._lost

    def feed(self, data: bytes, offset: int, moment: Moment) -> list[Draft]:
        """More bytes; the messages that end in them."""
        self._now = moment
        self._position = offset
        if self._state is _State.SKIP:
            self._state = _State.START  # programs write messages from their beginning
        at = 0
        while at < len(data) and self._state is not _State.OPAQUE:
            at += self._steps[self._state](data, at)
            self._position = offset + at
        return self._taken()

    def gap(self, length: int | None) -> list[Draft]:
        """Bytes are missing; None where nobody knows how many."""
        known = length if length is not None else -1
        counted = self._state in {_State.LENGTH, _State.CHUNK_DATA}
        if self._state is _State.OPAQUE:
            return []
        if counted and 0 <= known <= self._left:
            self._mark_gap()
            self._position += known
            self._left -= known
            self._after_data(self._position)
        elif self._state is _State.CLOSE:
            self._mark_gap()
        else:
            self._give_up("gap")
            self._ragged = True
        return self._taken()

    def close(self, *, clean: bool) -> list[Draft]:
        """The connection ended; ``clean``: that was seen, it is not just the recording's end."""
        if self._state is not _State.CLOSE:
            self._give_up("cut")
        elif clean and self._draft is not None:
            self._end(self._draft.incomplete, self._position)
        else:
            self._give_up("close_delimited_unclosed")
        self._state = _State.OPAQUE
        return self._taken()

    def close_as_tunnel(self) -> None:
        """Something else than HTTP follows, from the end of the message that is being read."""
        self._tunnel = True
        if self._state in {_State.START, _State.LINE, _State.SKIP}:
            self._draft = None
            self._collector.clear()
            self._state = _State.OPAQUE

    def begin_anew(self) -> None:
        """Behind the message that is being read a stream of its own begins, HTTP or not."""
        self._spoke = self._lost = False
        self._stray = self._blank = None

    # ------------------------------------------------------------------ beginnings

    def _start(self, data: bytes, at: int) -> int:
        """Between messages: blank lines are skipped (RFC 9112 2.2), the rest begins a line."""
        if data[at] in b"\r\n":
            if self._blank is None:
                self._blank = self._position
            return 1
        self._draft = Draft(self._position, self._now, self._request)
        self._state = _State.LINE
        return 0

    def _line(self, data: bytes, at: int) -> int:
        """A line that may begin a message."""
        if not len(self._collector) and not self._promises(data[at : at + _TELLING]):
            self._not_a_line(_State.SKIP)
            return 0
        before = len(self._collector)
        took, line = self._collector.collect(data, at, _LINE_END, _MOST_LINE)
        if line is None:
            start = self._collector.start(_TELLING)
            if len(self._collector) > _MOST_LINE or not self._promises(start):
                self._not_a_line(_State.SKIP)
            return took
        ragged, self._ragged = self._ragged, False
        if not is_start_line(line, request=self._request, ragged=ragged):
            self._not_a_line(_State.START)
            return took
        if line.startswith(_PREFACE):
            self._tunnel = True
            self._give_up("")
            return took
        self._state = _State.HEAD
        self._found()
        if not before:
            return 0  # the head is searched as a whole where it came at once
        self._collector.keep(line)
        return took

    def _promises(self, start: bytes) -> bool:
        return b"\n" in start or may_begin(start, request=self._request, ragged=self._ragged)

    def _found(self) -> None:
        """A message begins here: say what was before it."""
        draft = self._draft
        if draft is not None and self._stray is not None:
            draft.note(AnomalyCode.BYTES_BETWEEN_MESSAGES, self._stray, self._told_stray(draft))
        elif draft is not None and self._blank is not None and not self._lost:
            draft.note(AnomalyCode.LEADING_BLANK_LINE, self._blank)
        self._stray = self._blank = None
        self._lost = False
        self._spoke = True

    def _told_stray(self, draft: Draft) -> str:
        return f"{draft.offset - (self._stray or 0)} bytes"

    def _not_a_line(self, state: _State) -> None:
        """These bytes begin no message: look for one that does, if there ever was one."""
        if not self._lost and self._draft is not None:
            self._stray = self._draft.offset
        self._draft = self._blank = None
        self._collector.clear()
        self._lost = self._spoke
        self._state = state if self._spoke else _State.OPAQUE

    def _skip(self, data: bytes, at: int) -> int:
        """The rest of a line, or of a segment, that begins nothing."""
        end = data.find(b"\n", at)
        if end < 0:
            return len(data) - at
        self._state = _State.START
        self._ragged = False
        return end + 1 - at

    # ------------------------------------------------------------------ heads

    def _head(self, data: bytes, at: int) -> int:
        took, raw = self._collector.collect(data, at, _HEAD_END, _MOST_HEAD)
        draft = self._draft
        if draft is None:
            return took
        if raw is None:
            if len(self._collector) > _MOST_HEAD:
                draft.note(AnomalyCode.HEADERS_TOO_LARGE, draft.offset)
                self._give_up("headers_too_large")
            return took
        draft.headed(parse_head(raw, request=self._request), len(raw))
        self._body(self._ask(draft), self._position + took)
        return took

    def _ask(self, draft: Draft) -> Framing:
        framing = self._began(draft)
        if framing is None:
            self._tunnel = True
        return framing or Framing.NONE

    def _body(self, framing: Framing, at: int) -> None:
        draft = self._draft
        self._left = draft.head.length if draft else 0
        if framing is Framing.LENGTH and self._left:
            self._state = _State.LENGTH
        elif framing is Framing.CHUNKED:
            self._state = _State.CHUNK_SIZE
        elif framing is Framing.CLOSE:
            self._state = _State.CLOSE
        else:
            self._end("", at)

    # ------------------------------------------------------------------ bodies

    def _length(self, data: bytes, at: int) -> int:
        draft = self._draft
        if draft is not None and draft.answered and self._unsent(draft, data, at):
            # Expect: 100-continue that was refused: the body never came (RFC 9110 10.1.1).
            self._end("body_not_sent", self._position)
            return 0
        return self._chunk_data(data, at)

    def _unsent(self, draft: Draft, data: bytes, at: int) -> bool:
        if draft.body.encoded_size or not draft.head.values(b"expect"):
            return False
        end = data.find(b"\n", at, at + _MOST_LINE) + 1
        return end > 0 and is_start_line(data[at:end], request=True)

    def _chunk_data(self, data: bytes, at: int) -> int:
        took = min(self._left, len(data) - at)
        if self._draft is not None:
            self._draft.body.append(data[at : at + took])
        self._left -= took
        self._after_data(self._position + took)
        return took

    def _after_data(self, at: int) -> None:
        if self._left:
            return
        if self._state is _State.CHUNK_DATA:
            self._state = _State.CHUNK_END
            self._carriage = False
        else:
            self._end(self._draft.incomplete if self._draft else "", at)

    def _chunk_size(self, data: bytes, at: int) -> int:
        took, line = self._collector.collect(data, at, _LINE_END, _MOST_SIZE_LINE)
        if line is None:
            if len(self._collector) > _MOST_SIZE_LINE:
                self._malformed(AnomalyCode.BAD_CHUNK_SIZE)
            return took
        text = line[:-1].removesuffix(b"\r")
        match = _CHUNK_SIZE.fullmatch(text)
        if match is None:
            self._malformed(AnomalyCode.BAD_CHUNK_SIZE)
            return took
        if self._draft is not None and not line.endswith(b"\r\n"):
            self._draft.note_once(AnomalyCode.BARE_LF, self._position + took - 1)
        if self._draft is not None and b"\r" in text:
            self._draft.note_once(AnomalyCode.BARE_CR, self._position)
        self._left = int(match[1] or b"0", 16)
        self._state = _State.CHUNK_DATA if self._left else _State.TRAILERS
        if not self._left:
            self._collector.keep(b"\n")  # this line's: a blank one may follow at once
        return took

    def _chunk_end(self, data: bytes, at: int) -> int:
        """The line end behind a chunk's data."""
        byte = data[at : at + 1]
        if byte == b"\r" and not self._carriage:
            self._carriage = True
            return 1
        self._state = _State.CHUNK_SIZE
        draft = self._draft
        if byte == b"\n":
            if draft is not None and not self._carriage:
                draft.note_once(AnomalyCode.BARE_LF, self._position)
            return 1
        if draft is not None:
            draft.note_once(AnomalyCode.BAD_CHUNK_END, self._position)
        return 0

    def _trailers(self, data: bytes, at: int) -> int:
        took, raw = self._collector.collect(data, at, _HEAD_END, _MOST_TRAILERS)
        if raw is None:
            if len(self._collector) > _MOST_TRAILERS:
                self._malformed(AnomalyCode.HEADERS_TOO_LARGE)
            return took
        end = self._position + took
        draft = self._draft
        if draft is not None:
            odd = Head()
            draft.trailers, _ = parse_lines(raw[1:], odd, end - len(raw) + 1)
            for code, offset, detail in odd.troubles:
                draft.note(code, offset, detail)
        self._end(draft.incomplete if draft else "", end)
        return took

    def _until_close(self, data: bytes, at: int) -> int:
        if self._draft is not None:
            self._draft.body.append(data[at:])
        return len(data) - at

    # ------------------------------------------------------------------ ends

    def _mark_gap(self) -> None:
        if self._draft is not None:
            self._draft.incomplete = "gap"
            self._draft.body.interrupt()

    def _malformed(self, code: AnomalyCode) -> None:
        if self._draft is not None:
            self._draft.note(code, self._position)
        self._give_up("malformed")

    def _give_up(self, reason: str) -> None:
        """The message cannot be read on; what is known of it is told, a beginning looked for."""
        draft = self._draft
        if draft is not None and self._state is _State.HEAD:
            raw = self._collector.start(_MOST_HEAD)
            draft.headed(parse_head(raw, request=self._request, whole=False), len(raw))
            self._ask(draft)
        if draft is not None and draft.head.version:
            self._end(draft.incomplete or reason, self._position)
        self._draft = self._blank = self._stray = None
        self._collector.clear()
        self._lost = True
        self._spoke = True
        self._state = _State.OPAQUE if self._tunnel else _State.START

    def _end(self, incomplete: str, at: int) -> None:
        draft = self._draft
        self._draft = None
        self._collector.clear()
        self._state = _State.OPAQUE if self._tunnel else _State.START
        if draft is not None:
            draft.end(at, self._now, incomplete)
            self._out.append(draft)

    def _taken(self) -> list[Draft]:
        out, self._out = self._out, []
        return out
