"""Processes, connections and reasons as JSON: the same keys in every export that has them."""

from collections.abc import Iterable
from typing import Any

from qtapture.events import (
    Anomaly,
    Connection,
    Endpoint,
    EndpointView,
    Library,
    Loss,
    Process,
    Reason,
    TlsFacts,
)
from qtapture.timebase import Clock, iso_utc

__all__ = [
    "anomaly_rows",
    "connection_row",
    "endpoint_rows",
    "loss_row",
    "maybe_time",
    "place_text",
    "process_facts_row",
    "process_row",
    "reason_rows",
    "text_of",
    "time_text",
    "tls_row",
]

Row = dict[str, Any]
_LAST_DATE_NS = 253_402_300_799_999_999_999  # the end of year 9999: ISO dates end there


def text_of(raw: bytes) -> str:
    """Bytes of a protocol as text: UTF-8 where valid, else Latin-1, which loses nothing."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def maybe_time(clock: Clock, time_ns: int | None) -> str | None:
    """ISO time of a boot time, where there is one."""
    return None if time_ns is None else time_text(clock, time_ns)


def time_text(clock: Clock, time_ns: int) -> str:
    """ISO time of a boot time; of a damaged session, at least a date that readers can parse."""
    return iso_utc(min(max(clock.realtime_ns(time_ns), 0), _LAST_DATE_NS))


def process_row(process: Process | None) -> Row | None:
    """Who: enough to find the process in `qtapture info`, and to read it without."""
    if process is None:
        return None
    return {
        "pid": process.pid,
        "entity_id": process.entity_id,
        "ppid": process.ppid,
        "uid": process.uid,
        "user": process.user,
        "comm": process.comm,
        "exe": process.executable,
        "cmdline": " ".join(process.argv),
        "container": process.container,
    }


def process_facts_row(process: Process, clock: Clock) -> Row:
    """All that is known of a process."""
    return {
        **(process_row(process) or {}),
        "argv": list(process.argv),
        "argv_truncated": process.argv_truncated,
        "parent_entity_id": process.parent_entity_id,
        "ns_pid": process.ns_pid,
        "gid": process.gid,
        "cgroup": process.cgroup,
        "start": maybe_time(clock, process.start_ns),
        "exec": maybe_time(clock, process.exec_ns),
        "exit": maybe_time(clock, process.exit_ns),
        "exit_code": process.exit_code,
        "exit_signal": process.exit_signal,
        "origin": process.origin,
    }


def reason_rows(reasons: Iterable[Reason]) -> list[Row]:
    """Why something is missing."""
    return [
        {
            "code": reason.code.value,
            "direction": reason.direction.name.lower() if reason.direction is not None else None,
            "start": reason.start,
            "end": reason.end,
            "detail": reason.detail,
        }
        for reason in reasons
    ]


def anomaly_rows(anomalies: Iterable[Anomaly]) -> list[Row]:
    """What was odd (docs/anomalies.md)."""
    return [
        {"code": a.code, "message": a.message, "offset": a.offset, "detail": a.detail}
        for a in anomalies
    ]


def tls_row(tls: TlsFacts | None) -> Row | None:
    """What is known of TLS."""
    if tls is None:
        return None
    return {
        "version": tls.version,
        "cipher": tls.cipher,
        "alpn": tls.alpn,
        "server_name": tls.server_name,
        "joined_by": tls.joined_by,
        "library": _library_text(tls.library),
    }


def connection_row(connection: Connection, clock: Clock) -> Row:
    """One connection, whole."""
    return {
        "number": connection.number,
        "client": place_text(connection.client),
        "server": place_text(connection.server),
        "side": connection.side.value,
        "process": process_row(connection.owner),
        "client_process": process_row(connection.client_process),
        "server_process": process_row(connection.server_process),
        "processes": [process_row(process) for process in connection.processes],
        "encrypted": connection.encrypted,
        "tls": tls_row(connection.tls),
        "older": connection.older,
        "connect": maybe_time(clock, connection.connect_ns),
        "established": maybe_time(clock, connection.established_ns),
        "closed": maybe_time(clock, connection.closed_ns),
        "error": connection.error,
        "bytes_c2s": connection.bytes_c2s,
        "bytes_s2c": connection.bytes_s2c,
        "verdict": connection.verdict.value,
        "verdict_c2s": connection.verdict_c2s.value,
        "verdict_s2c": connection.verdict_s2c.value,
        "reasons": reason_rows(connection.reasons),
        "endpoints": endpoint_rows(connection.endpoints),
        "netns": connection.netns,
        "inode": connection.inode,
    }


def loss_row(loss: Loss, clock: Clock) -> Row:
    """Samples lost in an interval."""
    return {
        "kind": loss.kind,
        "samples": loss.samples,
        "bytes": loss.bytes,
        "skipped": loss.skipped,
        "start": maybe_time(clock, loss.start_ns),
        "end": maybe_time(clock, loss.time_ns),
    }


def endpoint_rows(endpoints: Iterable[EndpointView]) -> list[Row]:
    """What is known from each local end of a connection."""
    return [
        {
            "side": view.side.value,
            "process": process_row(view.process),
            "verdict": view.verdict.value,
            "reasons": reason_rows(view.reasons),
            "tls": tls_row(view.tls),
        }
        for view in endpoints
    ]


def place_text(endpoint: Endpoint | None) -> str | None:
    """``address:port``, IPv6 in brackets."""
    if endpoint is None:
        return None
    host = f"[{endpoint.ip}]" if ":" in endpoint.ip else endpoint.ip
    return f"{host}:{endpoint.port}"


def _library_text(library: Library | None) -> str | None:
    return None if library is None else f"{library.path} {library.version}".strip()
