"""The programs in bpf/, as a table: what each is and where it hangs."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ESSENTIAL", "PROGRAMS", "Program", "programs_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program in bpf/: its kind, and the tracepoint that it hangs on."""

    kind: str  # raw_tp or uprobe
    tracepoint: str = ""  # empty: attached by the attacher, or reached by a tail call
    tail_of: str = ""  # the program array that it stands in, at index 0
    hooks: str = ""  # wanted only where socket calls are seen in this way


PROGRAMS: dict[str, Program] = {
    "on_exec": Program(kind="raw_tp", tracepoint="sched_process_exec"),
    "on_fork": Program(kind="raw_tp", tracepoint="sched_process_fork"),
    "on_exit": Program(kind="raw_tp", tracepoint="sched_process_exit"),
    "on_sock_state": Program(kind="raw_tp", tracepoint="inet_sock_set_state"),
    "on_sock_destroy": Program(kind="raw_tp", tracepoint="tcp_destroy_sock"),
    "on_sock_recv": Program(kind="raw_tp", tracepoint="sock_recv_length", hooks="socklen"),
    "on_sock_send": Program(kind="raw_tp", tracepoint="sock_send_length", hooks="socklen"),
    "on_sys_exit": Program(kind="raw_tp", tracepoint="sys_exit", hooks="syscalls"),
    "on_sock_more": Program(kind="raw_tp", tail_of="sock_more"),
    "on_ssl_read": Program(kind="uprobe"),
    "on_ssl_write": Program(kind="uprobe"),
    "on_ssl_read_ex": Program(kind="uprobe"),
    "on_ssl_write_ex": Program(kind="uprobe"),
    "on_ssl_read_inner": Program(kind="uprobe"),
    "on_ssl_write_inner": Program(kind="uprobe"),
    "on_ssl_write_flags": Program(kind="uprobe"),
    "on_ssl_handshake": Program(kind="uprobe"),
    "on_ssl_return": Program(kind="uprobe"),
    "on_ssl_free": Program(kind="uprobe"),
    "on_bio_write": Program(kind="uprobe"),
    "on_link_map": Program(kind="uprobe"),
    "on_tls_more": Program(kind="uprobe", tail_of="tls_more"),
}


# Without these there is no recording at all; any other program may be refused.
ESSENTIAL = frozenset({"on_exec", "on_fork", "on_exit", "on_sock_state", "on_sock_destroy"})


def programs_for(hooks: str) -> Mapping[str, Program]:
    """The programs to load where socket calls are seen by these hooks."""
    return {name: row for name, row in PROGRAMS.items() if row.hooks in {"", hooks}}
