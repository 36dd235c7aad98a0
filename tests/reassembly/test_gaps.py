import pytest
from builders.records import MISSING_FAULT, MISSING_LIMIT, MISSING_NO_BUFFER
from builders.replayed import CLIENT, SERVER, codes, replayed, tls_talk, told
from builders.samples import Host

from qtapture.events import (
    Closed,
    Direction,
    Loss,
    ReasonCode,
    Segment,
    Side,
    Verdict,
)


def test_a_plain_socket_is_its_own_stream():
    host = Host()
    nc = host.run("nc")
    socket = nc.connect(CLIENT, "10.0.0.9:80")
    socket.send(b"x" * 40_000)
    socket.receive(b"pong")
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert not connection.encrypted
    assert connection.tls is None
    assert connection.verdict is Verdict.COMPLETE
    assert (connection.bytes_c2s, connection.bytes_s2c) == (40_000, 4)
    assert told(items, Direction.C2S) == [b"x" * 40_000]
    assert told(items, Direction.S2C) == [b"pong"]
    assert not any(item.plaintext for item in items if isinstance(item, Segment))


def test_lost_samples_are_an_exact_gap():
    host = Host()
    nc = host.run("nc")
    socket = nc.connect(CLIENT, "10.0.0.9:80")
    socket.send(b"one")
    with host.losing():
        socket.send(b"lost!")
    socket.send(b"three")
    host.losses()
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.verdict_c2s is Verdict.PARTIAL
    assert connection.verdict_s2c is Verdict.COMPLETE
    [reason] = connection.reasons
    assert (reason.code, reason.start, reason.end) == (ReasonCode.LOST_SAMPLES, 3, 8)
    assert told(items, Direction.C2S) == [b"one", (5, "lost_samples"), b"three"]
    [loss] = [item for item in items if isinstance(item, Loss)]
    assert (loss.kind, loss.samples, loss.bytes) == ("socket", 1, 5)


def test_the_lost_tail_of_a_plain_socket_is_known_from_the_close():
    host = Host()
    nc = host.run("nc")
    socket = nc.connect(CLIENT, "10.0.0.9:80")
    socket.send(b"one")
    with host.losing():
        socket.send(b"tail")
    socket.close()
    _, items = replayed(host)
    assert told(items, Direction.C2S) == [b"one", (4, "lost_samples")]


def test_the_lost_tail_of_an_ssl_object_is_known_from_its_totals():
    host = Host()
    socket, ssl = tls_talk(host)
    with host.losing():
        ssl.read(b"tail of it")
    ssl.free()
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.verdict_s2c is Verdict.PARTIAL
    assert connection.verdict_c2s is Verdict.COMPLETE
    assert told(items, Direction.S2C) == [b"HTTP/1.1 200 OK\r\n\r\n", (10, "lost_samples")]


def test_without_totals_a_loss_in_its_time_forbids_complete():
    host = Host()
    socket, ssl = tls_talk(host)
    since = host.time_ns
    with host.losing():
        ssl.read(b"tail of it")
    host.losses(since)
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.verdict is Verdict.PARTIAL
    assert told(items, Direction.S2C)[-1] == (None, "lost_samples")


def test_bytes_that_the_kernel_counted_and_no_probe_saw_are_missing():
    host = Host()
    nc = host.run("nc")
    socket = nc.connect(CLIENT, "10.0.0.9:80")
    socket.receive(b"read")
    socket.kernel[0] = 100
    socket.close()
    plan, items = replayed(host)
    assert told(items, Direction.S2C) == [b"read", (100, "no_payload_seen")]
    assert plan.tables.connections[0].bytes_s2c == 104


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (MISSING_NO_BUFFER, "no_buffer"),
        (MISSING_FAULT, "unreadable_buffer"),
        (MISSING_LIMIT, "call_too_large"),
    ],
)
def test_what_a_piece_does_not_have_is_a_gap_with_its_reason(missing, reason):
    host = Host()
    nginx = host.run("nginx")
    socket = nginx.accept("10.0.0.2:80", "10.0.0.7:50000")
    socket.send(b"head")
    socket.send(b"x" * 5000, missing=missing)
    socket.send(b"foot")
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.side is Side.SERVER
    assert connection.client.port == 50_000
    assert told(items, Direction.S2C) == [b"head", (5000, reason), b"foot"]
    [found] = connection.reasons
    assert (found.code, found.start, found.end) == (reason, 4, 5004)


def test_bytes_whose_addresses_were_lost_are_still_shown():
    host = Host()
    nc = host.run("nc")
    with host.losing():
        socket = nc.connect(CLIENT, "10.0.0.9:80")
        socket.send(b"")
    socket.send(b"here")
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert (connection.client, connection.server) == (None, None)
    assert ReasonCode.LOST_SAMPLES in codes(connection)
    assert told(items, Direction.C2S) == [b"here"]


def test_a_joined_object_all_of_whose_plaintext_was_lost_is_not_complete():
    host = Host()
    app = host.run("app")
    socket = app.connect(CLIENT, SERVER)
    ssl = app.ssl()
    ssl.join(socket)
    with host.losing():
        ssl.write(b"gone")
    host.losses(socket.birth_ns)
    socket.close()
    plan, _ = replayed(host)
    assert plan.tables.connections[0].verdict is Verdict.PARTIAL


def test_a_tail_that_the_file_lost_is_told_from_loss():
    host = Host()
    socket, ssl = tls_talk(host)
    with host.losing():
        ssl.read(b"tail")
    host.hole()
    ssl.free()
    socket.close()
    _, items = replayed(host)
    assert told(items, Direction.S2C)[-1] == (4, "damaged_session")


def test_an_older_connection_is_partial():
    host = Host()
    app = host.known("sshd")
    socket = app.older("10.0.0.2:22", "10.0.0.7:50000")
    socket.kernel = [500, 700]
    socket.receive(b"later")
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.older
    assert connection.verdict_c2s is Verdict.PARTIAL
    assert connection.verdict_s2c is Verdict.PARTIAL
    assert set(codes(connection)) == {ReasonCode.OLDER_THAN_RECORDING}
    assert connection.side is Side.SERVER  # 22 < 50000
    assert told(items, Direction.C2S) == [(None, "older_than_recording"), b"later"]


def test_an_older_connection_over_which_nothing_had_passed_is_complete():
    host = Host()
    app = host.known("nginx")
    socket = app.older("10.0.0.2:80", "10.0.0.7:50000")
    socket.receive(b"GET")
    socket.send(b"answer")
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.older
    assert connection.verdict is Verdict.COMPLETE
    assert codes(connection) == [ReasonCode.STILL_OPEN]
    assert told(items, Direction.C2S) == [b"GET"]
    assert isinstance(items[-1], Closed)


def test_damage_of_the_file_is_told_from_loss():
    host = Host()
    nc = host.run("nc")
    socket = nc.connect(CLIENT, "10.0.0.9:80")
    socket.send(b"one")
    with host.losing():
        socket.send(b"two!")
    host.hole()
    socket.send(b"three")
    socket.close()
    plan, items = replayed(host)
    assert told(items, Direction.C2S) == [b"one", (4, "damaged_session"), b"three"]
    assert ReasonCode.DAMAGED_SESSION in codes(plan.tables.connections[0])


def test_after_damage_nothing_without_totals_is_complete():
    host = Host()
    socket, ssl = tls_talk(host)
    host.hole()
    del socket, ssl
    plan, _ = replayed(host)
    assert plan.tables.connections[0].verdict is Verdict.PARTIAL
