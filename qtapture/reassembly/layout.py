"""The structs of bpf/qtapture.h as Python sees them: names, offsets and sizes.

Rule 1: tests/bpf/test_layout.py compiles the header and compares every row here with it.
Rule 2: naturally aligned and explicit: a field never needs padding before it.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["LAYOUTS", "Field", "Layout"]

Field = tuple[str, str]  # name, format character of `struct` (with a count for arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One struct: its flat fields (``head.time_ns``), and how to read it."""

    name: str
    fields: tuple[Field, ...]
    reader: struct.Struct

    @property
    def size(self) -> int:
        """sizeof(struct)."""
        return self.reader.size

    def offsets(self) -> Mapping[str, tuple[int, int]]:
        """Offset and size of each field, by flat name."""
        found: dict[str, tuple[int, int]] = {}
        position = 0
        for name, code in self.fields:
            size = struct.calcsize("<" + code)
            found[name] = (position, size)
            position += size
        return found


def _layout(name: str, *parts: Field | tuple[str, Sequence[Field]]) -> Layout:
    fields: list[Field] = []
    for label, part in parts:
        if isinstance(part, str):
            fields.append((label, part))
        else:
            fields.extend((f"{label}.{inner}", code) for inner, code in part)
    # Read without padding: rule 2 makes that the same as the compiler's view.
    codes = "".join(code for _, code in fields)
    return Layout(name=name, fields=tuple(fields), reader=struct.Struct("<" + codes))


_HEAD: tuple[Field, ...] = (
    ("type", "H"),
    ("kind", "B"),
    ("flags", "B"),
    ("length", "I"),
    ("time_ns", "Q"),
    ("pid", "I"),
    ("tid", "I"),
    ("start_ticks", "Q"),
    ("comm", "16s"),
)
_SOCKID: tuple[Field, ...] = (("sk", "Q"), ("birth_ns", "Q"), ("inode", "Q"))
_TUPLE: tuple[Field, ...] = (
    ("family", "H"),
    ("protocol", "H"),
    ("local_port", "H"),
    ("peer_port", "H"),
    ("netns", "I"),
    ("reserved", "I"),
    ("local", "16s"),
    ("peer", "16s"),
)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        _layout("qt_head", *_HEAD),
        _layout("qt_sockid", *_SOCKID),
        _layout("qt_tuple", *_TUPLE),
        _layout(
            "qt_exec",
            ("head", _HEAD),
            ("ppid", "I"),
            ("ns_pid", "I"),
            ("uid", "I"),
            ("gid", "I"),
            ("start_ns", "Q"),
            ("parent_start_ticks", "Q"),
            ("cgroup_id", "Q"),
            ("exe_inode", "Q"),
            ("exe_dev", "I"),
            ("args_len", "I"),
            ("file_len", "I"),
            ("reserved", "I"),
        ),
        _layout(
            "qt_exec_args",
            ("head", _HEAD),
            ("exec_ns", "Q"),
            ("offset", "I"),
            ("captured_len", "I"),
        ),
        _layout(
            "qt_fork",
            ("head", _HEAD),
            ("child_pid", "I"),
            ("child_ns_pid", "I"),
            ("child_start_ticks", "Q"),
            ("child_start_ns", "Q"),
            ("uid", "I"),
            ("gid", "I"),
            ("cgroup_id", "Q"),
        ),
        _layout("qt_exit", ("head", _HEAD), ("exit_code", "I"), ("reserved", "I")),
        _layout(
            "qt_sock_state",
            ("head", _HEAD),
            ("sock", _SOCKID),
            ("tuple", _TUPLE),
            ("old_state", "B"),
            ("new_state", "B"),
            ("reserved", "H"),
            ("error", "i"),
            ("bytes_received", "Q"),
            ("bytes_sent", "Q"),
            ("cookie", "Q"),
            ("owner_ticks", "Q"),
            ("owner_pid", "I"),
            ("reserved2", "I"),
            ("seen_received", "Q"),
            ("seen_sent", "Q"),
        ),
        _layout(
            "qt_sock_data",
            ("head", _HEAD),
            ("sock", _SOCKID),
            ("offset", "Q"),
            ("call_id", "Q"),
            ("call_len", "I"),
            ("call_offset", "I"),
            ("captured_len", "I"),
            ("piece_len", "I"),
            ("direction", "B"),
            ("mode", "B"),
            ("missing", "B"),
            ("tls", "B"),
            ("syscall", "I"),
        ),
        _layout(
            "qt_tls_data",
            ("head", _HEAD),
            ("ssl", "Q"),
            ("ssl_birth_ns", "Q"),
            ("sock", _SOCKID),
            ("offset", "Q"),
            ("call_id", "Q"),
            ("call_len", "I"),
            ("call_offset", "I"),
            ("captured_len", "I"),
            ("piece_len", "I"),
            ("direction", "B"),
            ("missing", "B"),
            ("function", "H"),
            ("library", "I"),
            ("call_begin_ns", "Q"),
        ),
        _layout(
            "qt_tls_join",
            ("head", _HEAD),
            ("ssl", "Q"),
            ("ssl_birth_ns", "Q"),
            ("sock", _SOCKID),
            ("tuple", _TUPLE),
            ("library", "I"),
            ("how", "B"),
            ("reserved", "3s"),
        ),
        _layout(
            "qt_tls_free",
            ("head", _HEAD),
            ("ssl", "Q"),
            ("ssl_birth_ns", "Q"),
            ("sock", _SOCKID),
            ("total_read", "Q"),
            ("total_written", "Q"),
        ),
        _layout(
            "qt_count",
            ("submitted", "Q"),
            ("submitted_bytes", "Q"),
            ("lost", "Q"),
            ("lost_bytes", "Q"),
            ("skipped", "Q"),
            ("skipped_bytes", "Q"),
        ),
    )
}
