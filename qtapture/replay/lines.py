"""Lines for people: exchanges as they complete, connections as they end, losses where they fall."""

from collections.abc import Iterator

from qtapture.analysis import Analysis
from qtapture.events import (
    Closed,
    Connection,
    Exchange,
    Loss,
    Message,
    ProcessExited,
    ProcessStarted,
    Verdict,
)
from qtapture.replay.shown import beginning, exchange_url, is_text, latin
from qtapture.timebase import iso_utc

__all__ = ["iter_lines"]

_MS = 1_000_000


def iter_lines(analysis: Analysis, *, verbose: bool = False) -> Iterator[str]:
    """Lines without their ends, which may hold control characters of the traffic."""
    spoken: set[int] = set()
    for item in analysis.iter_items():
        match item:
            case Exchange():
                spoken.add(item.connection.number)
                yield from _exchange_lines(analysis, item, verbose=verbose)
            case Closed():
                if not _told_already(item.connection, spoken):
                    yield _connection_line(analysis, item)
            case Loss():
                yield _loss_line(analysis, item)
            case ProcessStarted() | ProcessExited() if verbose:
                yield _process_line(analysis, item)
            case _:
                pass


def _told_already(connection: Connection, spoken: set[int]) -> bool:
    """Whether its exchanges say all; what is missing is told even so."""
    if connection.number not in spoken:
        return False
    spoken.discard(connection.number)
    return connection.verdict is Verdict.COMPLETE


def _exchange_lines(analysis: Analysis, exchange: Exchange, *, verbose: bool) -> Iterator[str]:
    try:
        yield _exchange_line(analysis, exchange)
        if verbose:
            yield from _details(exchange)
    finally:
        exchange.close()


# ------------------------------------------------------------------ lines


def _clock(analysis: Analysis, time_ns: int) -> str:
    return iso_utc(analysis.clock.realtime_ns(time_ns))


def _line(analysis: Analysis, time_ns: int, who: str, connection: Connection | None) -> str:
    name = f"#{connection.number}" if connection is not None else "-"
    return f"{_clock(analysis, time_ns)}  {who:<22} {name:<5}"


def _exchange_line(analysis: Analysis, exchange: Exchange) -> str:
    who = exchange.process.label if exchange.process is not None else "?"
    start = _line(analysis, exchange.time_ns, who, exchange.connection)
    request = exchange.request
    asked = f"{request.method or '?'} {exchange_url(exchange)}" if request else "(no request seen)"
    return f"{start} {asked} -> {_answer(exchange)}{_marks(exchange)}"


def _answer(exchange: Exchange) -> str:
    response = exchange.response
    if response is None:
        return f"no answer ({exchange.error or 'not seen'})"
    words = [str(response.status), response.reason, f"{response.body.encoded_size} B"]
    if exchange.request is not None:
        words.append(f"{max(response.last_ns - exchange.time_ns, 0) / _MS:.1f} ms")
    return " ".join(word for word in words if word)


def _marks(exchange: Exchange) -> str:
    """What is not whole about it, in brackets."""
    marks = []
    for name, message in (("request", exchange.request), ("response", exchange.response)):
        if message is None:
            continue
        if not message.complete:
            marks.append(f"{name} incomplete: {message.incomplete_reason or 'cut'}")
        marks.extend(f"{name} {anomaly.code}" for anomaly in message.anomalies)
    return f"  [{'; '.join(marks)}]" if marks else ""


def _connection_line(analysis: Analysis, item: Closed) -> str:
    connection = item.connection
    who = connection.owner.label if connection.owner is not None else "?"
    start = _line(analysis, item.time_ns, who, connection)
    codes = sorted({reason.code.value for reason in connection.reasons})
    error = f" {connection.error}" if connection.error else ""
    sizes = f"{_size(connection.bytes_c2s)} c2s, {_size(connection.bytes_s2c)} s2c"
    name = connection.tls.server_name if connection.tls and connection.tls.server_name else ""
    said = " ".join(filter(None, [connection.network, name and f"({name})"]))
    why = f": {', '.join(codes)}" if codes else ""
    return f"{start} {said} {connection.verdict.value}{why}{error}, {sizes}"


def _size(count: int | None) -> str:
    return "? B" if count is None else f"{count} B"


def _loss_line(analysis: Analysis, loss: Loss) -> str:
    start = _line(analysis, loss.time_ns, "lost", None)
    skipped = f", {loss.skipped} skipped" if loss.skipped else ""
    return f"{start} {loss.samples} samples of {loss.kind}, {loss.bytes} bytes{skipped}"


def _process_line(analysis: Analysis, item: ProcessStarted | ProcessExited) -> str:
    process = item.process
    start = _line(analysis, item.time_ns, process.label, None)
    if isinstance(item, ProcessStarted):
        return f"{start} {item.action} {' '.join(process.argv) or process.executable}"
    if process.exit_signal is not None:
        return f"{start} killed by signal {process.exit_signal}"
    return f"{start} exited with {process.exit_code}"


# ------------------------------------------------------------------ -v


def _details(exchange: Exchange) -> Iterator[str]:
    for mark, message in ((">", exchange.request), ("<", exchange.response)):
        if message is not None:
            yield from (f"    {mark} {line}" for line in _message_lines(message))


def _message_lines(message: Message) -> Iterator[str]:
    for early in message.informational:
        yield from _head_lines(early)
    yield from _head_lines(message)
    yield ""
    yield from _body_lines(message)
    for trailer in message.trailers:
        yield f"{latin(trailer.name)}: {latin(trailer.value)}  (trailer)"
    for anomaly in message.anomalies:
        yield f"! {anomaly.code} at {anomaly.offset} {anomaly.detail}".rstrip()


def _head_lines(message: Message) -> Iterator[str]:
    yield latin(message.start_line)
    for header in message.headers:
        yield f"{latin(header.name)}: {latin(header.value)}"


def _body_lines(message: Message) -> Iterator[str]:
    body = message.body
    if not body.encoded_size:
        return
    if body.undecodable:
        yield f"({body.encoded_size} bytes, undecodable: {body.undecodable})"
        return
    shown = beginning(body)
    if not is_text(message, shown):
        yield f"({body.decoded_size} bytes, binary)"
        return
    yield from shown.decode("utf-8", "backslashreplace").splitlines()
    if body.decoded_size > len(shown):
        yield f"({body.decoded_size - len(shown)} more bytes)"
