"""What a session says of itself and its host: header, and the records that are not samples."""

import json
import os
import platform
import pwd
import struct
import uuid
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from qtapture import __version__
from qtapture.capture.kernel_config import Scope
from qtapture.capture.probes import Probes
from qtapture.record.options import RecordOptions
from qtapture.timebase import Anchor, iso_utc

__all__ = ["anchor_body", "header", "json_body", "loss_body", "ring_loss_body", "round_body"]

# qtapture.reassembly reads these; formats/session.md is normative.
# By qt_tls_data.function. The last two are what the first four call: seen where that is cheaper.
_FUNCTIONS = ["SSL_read", "SSL_write", "SSL_read_ex", "SSL_write_ex", "SSL_do_handshake", ""]
_FUNCTIONS += ["ssl_read_internal", "ssl_write_internal"]
# A directory service may list a whole company.
_MOST_USERS = 1000
_ANCHOR = struct.Struct("<QQQ")
_ROUND = struct.Struct("<Q")
_LOSS = struct.Struct("<QB7x6Q")
_RING_LOSS = struct.Struct("<IIQ")


def header(options: RecordOptions, anchor: Anchor, probes: Probes, max_size: int) -> dict[str, Any]:
    """The session's header (formats/session.md)."""
    system = platform.uname()
    return {
        "uuid": str(uuid.uuid4()),
        "tool": f"qtapture {__version__}",
        "argv": list(options.argv),
        "started": iso_utc(anchor.realtime_ns),
        "host": system.node,
        "machine": system.machine,
        "kernel": system.release,
        "kernel_build": system.version,
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(),
        "clock": "boottime",
        "users": _users(),
        "anchor": {
            "boottime_ns": anchor.boottime_ns,
            "monotonic_ns": anchor.monotonic_ns,
            "realtime_ns": anchor.realtime_ns,
        },
        "cpus": os.cpu_count(),
        "loader": probes.loaded.loader,
        "attach": probes.means.attach,
        "hooks": probes.means.hooks,
        "sites": probes.means.sites,
        "without": [feature.name for feature in probes.means.without],
        "functions": _FUNCTIONS,
        "refused": dict(probes.refused),
        "scope": scope_facts(options.scope, options.command),
        "limits": {
            "duration_ns": options.duration_ns,
            "max_size": max_size,
            "memory": options.memory,
        },
    }


def _users() -> dict[str, str]:
    """Names of this host's users: samples carry numbers."""
    found = islice(pwd.getpwall(), _MOST_USERS)
    return {str(user.pw_uid): user.pw_name for user in found}


def scope_facts(scope: Scope, command: tuple[str, ...]) -> dict[str, Any]:
    """Who is recorded, in words."""
    return {
        "whole_host": scope.whole_host,
        "pids": list(scope.pids),
        "comms": list(scope.comms),
        "uids": list(scope.uids),
        "ports": list(scope.ports),
        "children": scope.children,
        "command": list(command),
    }


def json_body(facts: Mapping[str, Any]) -> bytes:
    """Facts as the body of a JSON record; bytes of a path that are not UTF-8 stay escapes."""
    return json.dumps(facts, separators=(",", ":")).encode("ascii")


def anchor_body(anchor: Anchor) -> bytes:
    """One moment on three clocks."""
    return _ANCHOR.pack(anchor.boottime_ns, anchor.monotonic_ns, anchor.realtime_ns)


def round_body(clock_ns: int) -> bytes:
    """The clock as it was before the ring heads of a round were read."""
    return _ROUND.pack(clock_ns)


def loss_body(start_ns: int, kind: int, counts: tuple[int, ...]) -> bytes:
    """Cumulative counts of one kind; ``start_ns``: when the previous ones were read."""
    return _LOSS.pack(start_ns, kind, *counts)


def ring_loss_body(ring: int, cpu: int, lost: int) -> bytes:
    """What the kernel says that one ring lost so far."""
    return _RING_LOSS.pack(ring, cpu, lost)
