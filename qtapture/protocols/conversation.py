"""Both directions of one connection: which protocol, and which response answers which request."""

from collections import deque
from dataclasses import dataclass, field, replace

from qtapture.events import Connection, Direction, Exchange, Gap, Process, Segment
from qtapture.protocols.draft import Draft, Moment
from qtapture.protocols.http1 import Http1Parser
from qtapture.protocols.http1_head import Framing

__all__ = ["Conversation"]

# Requests that wait for answers; a client that pipelines more gets its first ones without.
_MOST_WAITING = 1024
_MOST_INFORMATIONAL = 64
# Heads of what waits: parsed ones take up to forty times their bytes (four for each header).
_MOST_WAITING_HEADS = 1 << 20
_SWITCHING = 101
_NO_CONTENT = frozenset({204, 304})  # RFC 9112 6.3, rule 1
_CONTINUES = range(100, 200)
_SUCCESS = range(200, 300)


@dataclass(slots=True)
class _Waiting:
    """A request whose head is known, and what has come of its answer."""

    request: Draft | None
    method: str = ""
    informational: list[Draft] = field(default_factory=list)
    response: Draft | None = None
    answered: bool = False  # the response has ended


class Conversation:
    """One connection's exchanges, in order; bytes that are no HTTP/1 cost nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[_Waiting] = deque()
        self._index = 0
        self._out: list[Exchange] = []
        self._heads = 0  # bytes of the heads of requests and informational responses that wait
        self._owed = 0  # responses to come of requests that were given up
        self._losses = False  # responses are missing: order alone does not pair any more
        self._plaintext: bool | None = None
        self._parsers = self._new_parsers(lost=connection.older)

    def _new_parsers(self, *, lost: bool) -> tuple[Http1Parser, Http1Parser]:
        return (
            Http1Parser(request=True, began=self._request_began, lost=lost),
            Http1Parser(request=False, began=self._response_began, lost=lost),
        )

    def feed(self, segment: Segment) -> list[Exchange]:
        """More bytes; the exchanges that they complete."""
        self._connection = segment.connection
        if segment.plaintext and self._plaintext is False:
            # TLS began after clear text (a proxy's CONNECT, STARTTLS): a conversation of its own.
            self._finish(clean=True)
            self._parsers = self._new_parsers(lost=False)
        self._plaintext = segment.plaintext
        parser = self._parsers[segment.direction]
        if not parser.opaque:
            moment = Moment(segment.time_ns, segment.record, segment.process)
            drafts = parser.feed(segment.data, segment.offset, moment)
            self._ended(segment.direction, drafts)
        return self._taken()

    def gap(self, gap: Gap) -> list[Exchange]:
        """Bytes are missing."""
        parser = self._parsers[gap.direction]
        self._ended(gap.direction, parser.gap(gap.length))
        if parser.lost and gap.direction is Direction.S2C:
            self._losses = True
        return self._taken()

    def close(self, time_ns: int) -> list[Exchange]:  # noqa: ARG002 - the verb's signature
        """The connection ended, or the recording did: everything that waits is given out.

        ``time_ns`` is nobody's last byte, hence in no message.
        """
        self._finish(clean=self._connection.closed_ns is not None)
        return self._taken()

    def _finish(self, *, clean: bool) -> None:
        for direction in (Direction.C2S, Direction.S2C):
            self._ended(direction, self._parsers[direction].close(clean=clean))
        while self._waiting:
            self._give(self._waiting.popleft(), "no_response")

    # ------------------------------------------------------------------ beginnings

    def _request_began(self, draft: Draft) -> Framing | None:
        waiting = _Waiting(request=draft, method=draft.head.method)
        self._waiting.append(waiting)
        self._heads += draft.headers_size
        # One may be half answered and one half asked: what is between them can go.
        while len(self._waiting) > 2 and self._too_much_waits():  # noqa: PLR2004
            self._give_oldest_unanswered()
        # What follows a CONNECT is HTTP only if it was refused: the answer tells.
        return draft.head.framing

    def _too_much_waits(self) -> bool:
        return len(self._waiting) > _MOST_WAITING or self._heads > _MOST_WAITING_HEADS

    def _give_oldest_unanswered(self) -> None:
        oldest = next(w for w in self._waiting if w.response is None)
        self._waiting.remove(oldest)
        self._owed += 1
        self._give(oldest, "too_many_waiting")

    def _response_began(self, draft: Draft) -> Framing | None:
        waiting = self._answered_by(draft)
        status = draft.head.status
        if draft.informational:
            if self._heads <= _MOST_WAITING_HEADS:
                self._keep_informational(waiting, draft)
            return Framing.NONE
        waiting.response = draft
        if status == _SWITCHING:
            self._parsers[Direction.C2S].close_as_tunnel()
            return None
        if waiting.method == "CONNECT" and status in _SUCCESS:
            for parser in self._parsers:  # RFC 9110 9.3.6: a tunnel, to whatever it is
                parser.begin_anew()
            return Framing.NONE
        if status in _NO_CONTENT or status in _CONTINUES or waiting.method == "HEAD":
            return Framing.NONE
        return draft.head.framing

    def _keep_informational(self, waiting: _Waiting, draft: Draft) -> None:
        if len(waiting.informational) < _MOST_INFORMATIONAL:
            waiting.informational.append(draft)
            self._heads += draft.headers_size

    def _answered_by(self, draft: Draft) -> _Waiting:
        if self._losses and self._waiting:
            # Clients that do not pipeline have one request open: earlier ones lost their answers.
            while len(self._waiting) > 1 and _began_before(self._waiting[1], draft):
                self._give(self._waiting.popleft(), "response_lost")
            self._losses = False
            self._owed = 0
        place = next((i for i, w in enumerate(self._waiting) if w.response is None), None)
        if place is None:
            place = len(self._waiting)
            self._waiting.append(_Waiting(request=None))
        elif self._owed and self._waiting[place].request is not None:
            self._waiting.insert(place, _Waiting(request=None))
        else:
            return self._waiting[place]
        self._owed = max(self._owed - 1, 0)
        return self._waiting[place]

    # ------------------------------------------------------------------ ends

    def _ended(self, direction: Direction, drafts: list[Draft]) -> None:
        for draft in drafts:
            if direction is Direction.S2C:
                self._response_ended(draft)
        while self._waiting and _is_done(self._waiting[0]):
            self._give(self._waiting.popleft(), "")

    def _response_ended(self, draft: Draft) -> None:
        for waiting in self._waiting:
            if waiting.response is draft:
                waiting.answered = True
                if waiting.request is not None:
                    waiting.request.answered = True
                return

    def _give(self, waiting: _Waiting, error: str) -> None:
        drafts = [*waiting.informational, *filter(None, [waiting.request])]
        self._heads -= sum(draft.headers_size for draft in drafts)
        request = waiting.request.message if waiting.request else None
        response = waiting.response.message if waiting.response else None
        informational = tuple(d.message for d in waiting.informational if d.message)
        if response is None and informational:
            *before, response = informational  # a 1xx that nothing followed: all there is
            informational = tuple(before)
        if response is not None and informational:
            response = replace(response, informational=informational)
        if request is None and response is None:
            return
        self._index += 1
        exchange = Exchange(
            number=0,
            connection=self._connection,
            index=self._index,
            process=_process(waiting),
            request=request,
            response=response,
            first_on_connection=self._index == 1 and not self._connection.older,
            error="" if response is not None else error,
        )
        self._out.append(exchange)

    def _taken(self) -> list[Exchange]:
        out, self._out = self._out, []
        return out


def _is_done(waiting: _Waiting) -> bool:
    request = waiting.request is None or waiting.request.message is not None
    return waiting.answered and request


def _began_before(waiting: _Waiting, draft: Draft) -> bool:
    request = waiting.request
    return request is not None and request.first.time_ns <= draft.first.time_ns


def _process(waiting: _Waiting) -> Process | None:
    drafts = (waiting.request, *waiting.informational, waiting.response)
    return next((draft.first.process for draft in drafts if draft), None)
