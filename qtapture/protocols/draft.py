"""A message while it is being read: what is known of it so far, and from which samples."""

from dataclasses import dataclass, field

from qtapture.events import Anomaly, Header, Message, Process
from qtapture.protocols.anomalies import AnomalyCode
from qtapture.protocols.body import StoredBody
from qtapture.protocols.http1_head import Head

__all__ = ["Draft", "Moment"]

# Of one message: a bomb of oddities says no more than its beginning.
_MOST_ANOMALIES = 64


@dataclass(frozen=True, slots=True)
class Moment:
    """When, by whom and in which sample bytes were seen."""

    time_ns: int
    record: int
    process: Process | None


@dataclass(slots=True)
class Draft:
    """``message`` is set when it has ended."""

    offset: int
    first: Moment
    request: bool
    head: Head = field(default_factory=Head)
    headers_size: int = 0
    body: StoredBody = field(default_factory=StoredBody)
    trailers: list[Header] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)
    incomplete: str = ""
    answered: bool = False  # a request whose final response has ended
    message: Message | None = None

    @property
    def informational(self) -> bool:
        """A 1xx that another answer follows; 101 is the answer itself."""
        return 100 <= self.head.status < 200 and self.head.status != 101  # noqa: PLR2004

    def note(self, code: AnomalyCode, offset: int, detail: str = "") -> None:
        """Mark something odd at this offset of the stream; each kind once, but for heads'."""
        if len(self.anomalies) < _MOST_ANOMALIES:
            name = "request" if self.request else "response"
            self.anomalies.append(
                Anomaly(code=code.value, message=name, offset=offset, detail=detail)
            )

    def note_once(self, code: AnomalyCode, offset: int) -> None:
        """The same, unless that kind is marked already: chunks can be millions."""
        if all(anomaly.code != code for anomaly in self.anomalies):
            self.note(code, offset)

    def headed(self, head: Head, size: int) -> None:
        """The head is known."""
        self.head = head
        self.headers_size = size
        for code, offset, detail in head.troubles:
            self.note(code, self.offset + offset, detail)
        # Transfer codings other than chunked lie upon the content's (RFC 9112 6.1).
        self.body.coded([*head.values(b"content-encoding"), *head.transfer_codings])

    def end(self, end: int, last: Moment, incomplete: str) -> None:
        """The message is over. ``last``: the last bytes of it that were seen."""
        head = self.head
        self.incomplete = incomplete
        self.message = Message(
            offset=self.offset,
            end=end,
            first_ns=self.first.time_ns,
            last_ns=last.time_ns,
            start_line=head.start_line,
            version=head.version,
            method=head.method,
            target=head.target,
            status=head.status,
            reason=head.reason,
            headers=tuple(head.headers),
            raw_headers=head.raw_headers,
            trailers=tuple(self.trailers),
            headers_size=self.headers_size,
            wire_size=end - self.offset,
            body=self.body,
            complete=not incomplete,
            incomplete_reason=incomplete,
            anomalies=tuple(self.anomalies),
            first_record=self.first.record,
            last_record=last.record,
        )
