"""Rows of a timeline: flat objects with the keys of formats/timeline.md, in a fixed order."""

from typing import Any

from qtapture import __version__
from qtapture.events import (
    Closed,
    Connection,
    Exchange,
    Loss,
    Message,
    Opened,
    Process,
    ProcessExited,
    ProcessStarted,
    Segment,
    Tables,
)
from qtapture.export.timeline_gaps import GapTotal
from qtapture.export.timeline_keys import connection_keys, http_keys, process_keys
from qtapture.export.urls import full_url
from qtapture.timebase import Clock, iso_utc

__all__ = ["RowMaker", "duration_of"]

Row = dict[str, Any]
_NS_PER_US = 1000


class RowMaker:
    """Makes rows of one session; a key without a value is left out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session = self._host = ""

    def begin(self, tables: Tables) -> None:
        """Learn what every row says of the session."""
        self._session = tables.facts.get("uuid", "")
        self._host = tables.facts.get("host", "")

    def opened(self, item: Opened) -> Row:
        """A connection began, failed to, or was found."""
        connection = item.connection
        what, action = "TCP connected", "connection-opened"
        if connection.error and connection.established_ns is None:
            what, action = f"TCP connect failed ({connection.error})", "connection-failed"
        elif connection.older:
            what, action = "TCP connection first seen", "connection-found"
        return self._row(
            item.time_ns,
            message=f"{_who(connection.owner)} {what}: {connection.network}",
            desc=what.partition(" (")[0],
            kind="net",
            event=("network", action, None),
            process=connection.owner,
            more=connection_keys(connection) | {"error.code": connection.error},
        )

    def closed(self, item: Closed) -> Row:
        """A connection ended, with the kernel's byte counts."""
        connection = item.connection
        began = connection.connect_ns or connection.established_ns
        sent, received = connection.bytes_c2s, connection.bytes_s2c
        ended = connection.closed_ns is not None
        what = "TCP closed" if ended else "TCP connection still open at the end"
        return self._row(
            item.time_ns,
            message=f"{_who(connection.owner)} {what}: {connection.network}"
            f" {_count(sent)} B to the server, {_count(received)} B to the client",
            desc=what,
            kind="net",
            event=(
                "network",
                "connection-closed" if ended else "connection-open",
                _since(began, item.time_ns),
            ),
            process=connection.owner,
            more=connection_keys(connection)
            | {"source.bytes": sent, "destination.bytes": received},
        )

    def exchange(self, exchange: Exchange) -> Row:
        """One HTTP exchange, at the first byte of its request."""
        connection = exchange.connection
        request, response = exchange.request, exchange.response
        url = full_url(request, connection) if request else None
        duration = duration_of(exchange)
        return self._row(
            exchange.time_ns,
            message=_exchange_text(exchange, url, duration),
            desc="HTTP request sent" if request else "HTTP response received",
            kind="http",
            event=("web", "http-request" if request else "http-response", duration),
            process=exchange.process or connection.owner,
            more=http_keys(request, response, url)
            | connection_keys(connection)
            | {
                "qt.exchange": exchange.number,
                "qt.rec": request.first_record if request else _first_record(response),
                "qt.complete": _is_complete(request, response),
                "qt.anomalies": sorted(
                    {a.code for m in (request, response) if m for a in m.anomalies}
                )
                or None,
            },
        )

    def plaintext(self, first: Segment) -> Row:
        """What was under TLS can be seen from here on."""
        connection = first.connection
        return self._row(
            first.time_ns,
            message=f"{_who(first.process or connection.owner)} {_tls_text(connection)}"
            f" plaintext from here on: {connection.network}",
            desc="TLS plaintext first seen",
            kind="tls",
            event=("network", "tls-plaintext", None),
            process=first.process or connection.owner,
            more=connection_keys(connection) | {"qt.rec": first.record},
        )

    def unopened(self, item: Opened) -> Row:
        """A connection under TLS that nothing opened."""
        connection = item.connection
        return self._row(
            item.time_ns,
            message=f"{_who(connection.owner)} {_tls_text(connection)}"
            f" without plaintext: {connection.network}",
            desc="TLS without plaintext",
            kind="tls",
            event=("network", "tls-opaque", None),
            process=connection.owner,
            more=connection_keys(connection),
        )

    def gaps(self, total: GapTotal) -> Row:
        """All that is missing of one connection, at the first place."""
        connection = total.connection
        size = f"{total.bytes} B" if not total.unknown else f"{total.bytes} B and more"
        return self._row(
            total.first_ns,
            message=f"{_who(connection.owner)} {size} missing in {total.count} gaps:"
            f" {connection.network}",
            desc="Bytes missing",
            kind="loss",
            event=("network", "bytes-missing", _since(total.first_ns, total.last_ns)),
            process=connection.owner,
            more=connection_keys(connection) | {"qt.gaps": total.rows()},
        )

    def started(self, item: ProcessStarted) -> Row:
        """A process was made, or became another program."""
        process = item.process
        line = " ".join(process.argv) or process.executable
        return self._row(
            item.time_ns,
            message=f"{process.label} {item.action}: {line}",
            desc=f"Process {item.action}",
            kind="proc",
            event=("process", item.action, None),
            process=process,
        )

    def exited(self, item: ProcessExited) -> Row:
        """A process ended."""
        process = item.process
        how = f"signal {process.exit_signal}" if process.exit_signal else process.exit_code
        return self._row(
            item.time_ns,
            message=f"{process.label} exit: {'?' if how is None else how}",
            desc="Process exit",
            kind="proc",
            event=("process", "exit", _since(process.start_ns, item.time_ns)),
            process=process,
            more={
                "process.exit_code": process.exit_code,
                "process.exit_signal": process.exit_signal,
            },
        )

    def loss(self, item: Loss) -> Row:
        """Samples were lost in an interval."""
        count = item.samples + item.skipped
        return self._row(
            item.time_ns,
            message=f"{count} {item.kind} samples lost ({item.bytes} B)",
            desc="Capture loss",
            kind="loss",
            event=("host", "capture-loss", _since(item.start_ns, item.time_ns)),
            process=None,
            more={
                "qt.loss": {
                    "kind": item.kind,
                    "samples": item.samples,
                    "skipped": item.skipped,
                    "bytes": item.bytes,
                }
            },
        )

    def _row(  # noqa: PLR0913 - the parts of every row
        self,
        time_ns: int,
        *,
        message: str,
        desc: str,
        kind: str,
        event: tuple[str, str, int | None],
        process: Process | None,
        more: Row | None = None,
    ) -> Row:
        real_ns = self._clock.realtime_ns(time_ns)
        category, action, duration = event
        row: Row = {
            "message": message,
            "datetime": iso_utc(real_ns, suffix="+00:00"),
            "timestamp": real_ns // _NS_PER_US,
            "timestamp_desc": desc,
            "t_ns": str(real_ns),
            "data_type": f"qtapture:{kind}",
            "parser": f"qtapture/{__version__}",
            "event.kind": "event",
            "event.category": category,
            "event.action": action,
            "event.duration": duration,
            "host.name": self._host or None,
            **process_keys(process),
            **(more or {}),
            "qt.session": self._session or None,
        }
        return {key: value for key, value in row.items() if value is not None}


def _exchange_text(exchange: Exchange, url: str | None, duration: int) -> str:
    request, response = exchange.request, exchange.response
    asked = f"{request.method} {url}" if request else "(request not seen)"
    if response is None:
        answered = f"no answer ({exchange.error or 'no_response'})"
    else:
        answered = f"{response.status} {response.body.encoded_size} B"
    who = _who(exchange.process or exchange.connection.owner)
    return f"{who} {asked} -> {answered} in {duration / 1e6:.1f} ms"


def duration_of(exchange: Exchange) -> int:
    """From the first byte of an exchange to its last, in nanoseconds."""
    ends = [m.last_ns for m in (exchange.request, exchange.response) if m is not None]
    return max([end - exchange.time_ns for end in ends] + [0])


def _since(began: int | None, time_ns: int) -> int | None:
    return None if began is None else max(time_ns - began, 0)


def _tls_text(connection: Connection) -> str:
    tls = connection.tls
    said = (tls.version, tls.server_name and f"to {tls.server_name}") if tls else ()
    return " ".join(["TLS" if not (tls and tls.version) else "", *filter(None, said)]).strip()


def _is_complete(request: Message | None, response: Message | None) -> bool:
    return all(message is not None and message.complete for message in (request, response))


def _first_record(message: Message | None) -> int | None:
    return message.first_record if message else None


def _who(process: Process | None) -> str:
    return process.label if process else "?"


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)
