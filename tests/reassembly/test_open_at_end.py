"""Connections that were still open when the recording ended: the kernel's counts tell."""

import pytest
from builders.records import NETNS
from builders.samples import Host

from qtapture.events import Direction, ReasonCode, Verdict
from qtapture.reassembly import survey
from qtapture.source import EventType

ENDS = ("10.0.0.2:40000", "93.184.216.34:80")


def ended(host: Host, socket, *, read: int | None, written: int | None) -> None:
    """As the recorder's last look has it."""
    host.tell(
        EventType.SOCKET,
        at="end",
        state="ESTABLISHED",
        inode=socket.inode,
        counted_ns=host.tick(),
        read=read,
        written=written,
    )


def only(host: Host):
    (connection,) = survey(host.source()).tables.connections
    return connection


def test_what_moved_and_was_seen_is_complete():
    host = Host()
    socket = host.run("curl").connect(*ENDS)
    socket.send(b"x" * 500)
    ended(host, socket, read=0, written=500)
    connection = only(host)
    assert connection.verdict is Verdict.COMPLETE
    assert (connection.bytes_c2s, connection.bytes_s2c) == (500, 0)
    assert [reason.code for reason in connection.reasons] == [ReasonCode.STILL_OPEN]


def test_what_moved_and_was_not_seen_is_an_exact_hole():
    host = Host()
    socket = host.run("curl").connect(*ENDS)
    socket.send(b"x" * 500)
    ended(host, socket, read=70, written=900)
    holes = {(r.code, r.direction, r.start, r.end) for r in only(host).reasons if r.end}
    code = ReasonCode.NO_PAYLOAD_SEEN
    assert holes == {(code, Direction.C2S, 500, 900), (code, Direction.S2C, 0, 70)}


@pytest.mark.parametrize("before", [0, 300])
def test_an_older_connection_is_partial_only_if_it_had_said_something_before(before):
    host = Host()
    socket = host.run("curl").older(*ENDS)
    socket.kernel[1] = before
    socket.send(b"x" * 500)
    ended(host, socket, read=0, written=before + 500)
    codes = {(reason.code, reason.direction) for reason in only(host).reasons}
    assert ((ReasonCode.OLDER_THAN_RECORDING, Direction.C2S) in codes) == bool(before)


def test_what_is_said_after_the_count_proves_nothing_about_before():
    host = Host()
    socket = host.run("curl").older(*ENDS)
    socket.kernel[1] = 300
    socket.send(b"x" * 500)
    ended(host, socket, read=0, written=800)
    socket.send(b"y" * 400)
    codes = {reason.code for reason in only(host).reasons}
    assert ReasonCode.OLDER_THAN_RECORDING in codes


def test_without_counts_nothing_is_concluded():
    host = Host()
    socket = host.run("curl").connect(*ENDS)
    socket.send(b"x" * 500)
    ended(host, socket, read=None, written=None)
    connection = only(host)
    assert connection.bytes_c2s is None
    assert connection.verdict is Verdict.COMPLETE


def test_a_connection_that_closed_after_all_keeps_its_own_end():
    host = Host()
    socket = host.run("curl").connect(*ENDS)
    socket.send(b"x" * 500)
    ended(host, socket, read=0, written=100)
    socket.close()
    assert only(host).bytes_c2s == 500


def test_whoever_holds_what_nobody_spoke_over_is_its_owner():
    host = Host()
    host.tell(EventType.PROCESS, pid=77, start_ticks=9, comm="nginx", exe="/usr/sbin/nginx")
    server = host.known("nginx", pid=77, ticks=9)
    server.accept("10.0.0.2:443", "10.0.0.9:50000")
    holder = {"pid": 77, "start_ticks": 9}
    where = {"netns": NETNS, "local": "10.0.0.2", "local_port": 443}
    where |= {"peer": "10.0.0.9", "peer_port": 50000, "inode": 4711, "owners": [holder]}
    host.tell(EventType.SOCKET, at="end", state="ESTABLISHED", **where, read=0, written=0)
    assert only(host).owner.comm == "nginx"
