"""What `qtapture info` tells: one plain value of lists and words, the same for text and JSON.

Rule 1: `submitted == in the file + lost` is checked for every kind, and told either way.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtapture.analysis.analysis import Analysis
from qtapture.events import (
    Connection,
    Endpoint,
    EndpointView,
    Library,
    Process,
    Reason,
    ReasonCode,
    Tables,
    TlsFacts,
    Verdict,
)
from qtapture.reassembly import KIND_NAMES
from qtapture.timebase import iso_utc

__all__ = ["Summary", "connection_row", "process_row", "summarise"]

Row = dict[str, Any]
_When = Callable[[int | None], str | None]  # boot time as UTC text


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All of it, ready for JSON: times are UTC, keys in a fixed order."""

    rows: Row

    @property
    def balanced(self) -> bool:
        """Whether all loss counts add up."""
        return all(row["adds_up"] is not False for row in self.rows["loss"])


def summarise(analysis: Analysis) -> Summary:
    """Everything that the survey found."""
    tables = analysis.tables
    plan = analysis.plan

    def when(time_ns: int | None) -> str | None:
        return None if time_ns is None else iso_utc(analysis.clock.realtime_ns(time_ns))

    rows: Row = {
        "session": dict(tables.facts),
        "header": {name: v for name, v in analysis.header.items() if name != "users"},
        "start": when(tables.start_ns),
        "end": when(tables.end_ns),
        "closed": analysis.closed,
        "findings": list(analysis.findings),
        "notes": [{"time": when(time_ns), **body} for time_ns, body in plan.notes],
        "samples": {
            "total": plan.counts.samples,
            "stragglers": plan.counts.stragglers,
            "malformed": plan.counts.malformed,
            "unknown": plan.counts.unknown,
            "objects_left_out": plan.counts.left_out,
        },
        "loss": _loss_rows(analysis),
        "rings": [
            {"ring": ring.ring, "cpu": ring.cpu, "lost": ring.lost}
            for _, ring in sorted(plan.losses.rings.items())
        ],
        "libraries": [_library_row(library) for library in tables.libraries],
        "coverage": _coverage(tables),
        "limits": analysis.header.get("limits"),
        "processes": [process_row(process, when) for process in tables.processes],
        "connections": [connection_row(connection, when) for connection in tables.connections],
    }
    return Summary(rows=rows)


def _coverage(tables: Tables) -> Row:
    """How many connections are how whole, and why they are not."""
    verdicts = Counter(connection.verdict for connection in tables.connections)
    reasons = Counter(
        code
        for connection in tables.connections
        for code in {reason.code for reason in connection.reasons}
    )
    hooked = sum(library.hooked for library in tables.libraries)
    return {
        "verdicts": {verdict.value: verdicts[verdict] for verdict in Verdict},
        "reasons": {code.value: reasons[code] for code in ReasonCode if reasons[code]},
        "libraries_hooked": hooked,
        "libraries_not_hooked": len(tables.libraries) - hooked,
    }


def _loss_rows(analysis: Analysis) -> list[Row]:
    """One row for each kind that anything is known of."""
    plan = analysis.plan
    counts = plan.losses.counts
    rows = []
    for kind in sorted(counts.keys() | plan.counts.by_kind.keys()):
        in_file = plan.counts.by_kind.get(kind, 0)
        told = counts.get(kind)
        row: Row = {"kind": KIND_NAMES.get(kind, f"kind {kind}"), "in_file": in_file}
        if told is None:  # the recording did not come to its end: nothing to compare with
            rows.append(row | {"submitted": None, "lost": None, "skipped": None, "adds_up": None})
            continue
        rows.append(
            row
            | {
                "submitted": told.submitted,
                "lost": told.lost,
                "skipped": told.skipped,
                "submitted_bytes": told.submitted_bytes,
                "lost_bytes": told.lost_bytes,
                "skipped_bytes": told.skipped_bytes,
                # Counters are told now and then; only the last ones are final.
                "adds_up": told.submitted == in_file + told.lost if analysis.closed else None,
            }
        )
    return rows


def _library_row(library: Library) -> Row:
    return {
        "number": library.number,
        "path": library.path,
        "version": library.version,
        "build_id": library.build_id,
        "hooked": library.hooked,
        "detail": library.detail,
    }


def process_row(process: Process, when: _When) -> Row:
    """One process; ``when`` turns boot time into UTC text."""
    return {
        "pid": process.pid,
        "entity_id": process.entity_id,
        "parent_entity_id": process.parent_entity_id,
        "ppid": process.ppid,
        "comm": process.comm,
        "executable": process.executable,
        "argv": list(process.argv),
        "argv_truncated": process.argv_truncated,
        "uid": process.uid,
        "gid": process.gid,
        "user": process.user,
        "container": process.container,
        "cgroup": process.cgroup,
        "started": when(process.start_ns),
        "exited": when(process.exit_ns),
        "exit_code": process.exit_code,
        "exit_signal": process.exit_signal,
        "origin": process.origin,
    }


def connection_row(connection: Connection, when: _When) -> Row:
    """One connection with both verdicts and all reasons."""
    return {
        "number": connection.number,
        "client": _place(connection.client),
        "server": _place(connection.server),
        "transport": connection.transport,
        "encrypted": connection.encrypted,
        "side": connection.side.value,
        "owner": _named(connection.owner),
        "client_process": _named(connection.client_process),
        "server_process": _named(connection.server_process),
        "first": when(connection.first_ns),
        "established": when(connection.established_ns),
        "closed": when(connection.closed_ns),
        "older": connection.older,
        "error": connection.error,
        "bytes_c2s": connection.bytes_c2s,
        "bytes_s2c": connection.bytes_s2c,
        "verdict": connection.verdict.value,
        "verdict_c2s": connection.verdict_c2s.value,
        "verdict_s2c": connection.verdict_s2c.value,
        "reasons": [_reason_row(reason) for reason in connection.reasons],
        "tls": _tls_row(connection.tls),
        "endpoints": [_endpoint_row(view) for view in connection.endpoints],
    }


def _place(endpoint: Endpoint | None) -> Row | None:
    return None if endpoint is None else {"ip": endpoint.ip, "port": endpoint.port}


def _named(process: Process | None) -> Row | None:
    if process is None:
        return None
    return {"pid": process.pid, "comm": process.comm, "entity_id": process.entity_id}


def _reason_row(reason: Reason) -> Row:
    direction = reason.direction.name.lower() if reason.direction is not None else None
    row: Row = {"code": reason.code.value, "direction": direction}
    row |= {"start": reason.start, "end": reason.end, "detail": reason.detail}
    return {name: value for name, value in row.items() if name == "code" or value not in (None, "")}


def _tls_row(tls: TlsFacts | None) -> Row | None:
    if tls is None:
        return None
    row: Row = {
        "library": tls.library.path if tls.library else None,
        "library_version": tls.library.version if tls.library else None,
        "joined_by": tls.joined_by or None,
        "version": tls.version,
        "cipher": tls.cipher,
        "alpn": tls.alpn,
        "server_name": tls.server_name,
    }
    return {name: value for name, value in row.items() if value is not None}


def _endpoint_row(view: EndpointView) -> Row:
    return {
        "side": view.side.value,
        "process": _named(view.process),
        "verdict": view.verdict.value,
        "reasons": [_reason_row(reason) for reason in view.reasons],
        "tls": _tls_row(view.tls),
    }
