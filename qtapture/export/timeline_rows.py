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
    Tables,
)
from qtapture.export.attribution import reason_rows, text_of
from qtapture.export.urls import full_url
from qtapture.timebase import Clock, iso_utc

__all__ = ["RowMaker"]

Row = dict[str, Any]
_NS_PER_US = 1000


class RowMaker:
    """Makes rows of one session; a key without a value is left out."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._session = tables.facts.get("uuid", "")
        self._host = tables.facts.get("host", "")
        self._clock = clock

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
            more=self._connection(connection) | {"error.code": connection.error},
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
                None if began is None else item.time_ns - began,
            ),
            process=connection.owner,
            more=self._connection(connection)
            | {"source.bytes": sent, "destination.bytes": received},
        )

    def exchange(self, exchange: Exchange) -> Row:
        """One HTTP exchange, at the first byte of its request."""
        connection = exchange.connection
        request, response = exchange.request, exchange.response
        url = full_url(request, connection) if request else None
        end = max(m.last_ns for m in (request, response) if m is not None)
        duration = max(end - exchange.time_ns, 0)
        return self._row(
            exchange.time_ns,
            message=_exchange_text(exchange, url, duration),
            desc="HTTP request sent" if request else "HTTP response received",
            kind="http",
            event=("web", "http-request" if request else "http-response", duration),
            process=exchange.process or connection.owner,
            more=_http(request, response, url)
            | self._connection(connection)
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
        began = process.start_ns
        return self._row(
            item.time_ns,
            message=f"{process.label} exit: {how}",
            desc="Process exit",
            kind="proc",
            event=("process", "exit", None if began is None else item.time_ns - began),
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
            event=("process", "capture-loss", item.time_ns - item.start_ns),
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
            **_process(process, "process"),
            **(more or {}),
            "qt.session": self._session or None,
        }
        return {key: value for key, value in row.items() if value is not None}

    def _connection(self, connection: Connection) -> Row:
        client, server = connection.client, connection.server
        tls = connection.tls
        reasons = [reason["code"] for reason in reason_rows(connection.reasons)]
        return {
            "source.ip": client.ip if client else None,
            "source.port": client.port if client else None,
            "destination.ip": server.ip if server else None,
            "destination.port": server.port if server else None,
            "network.transport": connection.transport,
            "network.direction": _direction(connection),
            **_process(connection.client_process, "client.process"),
            **_process(connection.server_process, "server.process"),
            "tls.version": tls.version if tls else None,
            "tls.cipher": tls.cipher if tls else None,
            "tls.next_protocol": tls.alpn if tls else None,
            "tls.client.server_name": tls.server_name if tls else None,
            "qt.conn": connection.number,
            "qt.verdict": connection.verdict.value,
            "qt.reasons": sorted(set(reasons)) or None,
            "qt.attribution": tls.joined_by or None if tls else None,
        }


def _process(process: Process | None, prefix: str) -> Row:
    if process is None:
        return {}
    row: Row = {
        f"{prefix}.pid": process.pid,
        f"{prefix}.entity_id": process.entity_id,
        f"{prefix}.name": process.comm,
        f"{prefix}.executable": process.executable or None,
    }
    if prefix == "process":
        row |= {
            "process.command_line": " ".join(process.argv) or None,
            "process.parent.pid": process.ppid or None,
            "process.parent.entity_id": process.parent_entity_id,
            "user.id": None if process.uid is None else str(process.uid),
            "user.name": process.user,
            "container.id": process.container,
        }
    return row


def _http(request: Message | None, response: Message | None, url: str | None) -> Row:
    known = request or response
    return {
        "http.request.method": request.method if request else None,
        "url.full": url,
        "url.domain": _domain(url),
        "http.version": known.version.removeprefix("HTTP/") if known else None,
        "http.response.status_code": response.status if response else None,
        "http.request.body.bytes": request.body.encoded_size if request else None,
        "http.response.body.bytes": response.body.encoded_size if response else None,
        "http.response.mime_type": text_of(response.header("content-type") or b"") or None
        if response
        else None,
        "network.protocol": "http",
    }


def _domain(url: str | None) -> str | None:
    if url is None:
        return None
    authority = url.partition("://")[2].partition("/")[0]
    host, colon, port = authority.rpartition(":")
    return (host if colon and port.isdigit() else authority).strip("[]") or None


def _exchange_text(exchange: Exchange, url: str | None, duration: int) -> str:
    request, response = exchange.request, exchange.response
    asked = f"{request.method} {url}" if request else "(request not seen)"
    if response is None:
        answered = f"no answer ({exchange.error or 'no_response'})"
    else:
        answered = f"{response.status} {response.body.encoded_size} B"
    who = _who(exchange.process or exchange.connection.owner)
    return f"{who} {asked} -> {answered} in {duration / 1e6:.1f} ms"


def _direction(connection: Connection) -> str:
    if connection.client_process is not None and connection.server_process is not None:
        return "internal"
    return "egress" if connection.side.value == "client" else "ingress"


def _is_complete(request: Message | None, response: Message | None) -> bool:
    return all(message is not None and message.complete for message in (request, response))


def _first_record(message: Message | None) -> int | None:
    return message.first_record if message else None


def _who(process: Process | None) -> str:
    return process.label if process else "?"


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)
