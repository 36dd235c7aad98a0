import random

import pytest
from builders.samples import (
    HELLO,
    LIBRARY,
    MISSING_FAULT,
    MISSING_HEAD,
    MISSING_LIMIT,
    MISSING_NO_BUFFER,
    MS,
    PROTECTED,
    RECORD,
    Host,
    place,
)

from qtapture.events import (
    Closed,
    Direction,
    Gap,
    Loss,
    Opened,
    ReasonCode,
    Segment,
    Side,
    Verdict,
)
from qtapture.reassembly import SideChoice, iter_traffic, survey
from qtapture.source import EventType

CLIENT = "10.0.0.2:40000"
SERVER = "93.184.216.34:443"


def replayed(host, side=SideChoice.BEST, shuffle=None):
    source = host.source(shuffle)
    plan = survey(source, side=side)
    items = list(iter_traffic(source, plan))
    times = [item.time_ns for item in items]
    assert times == sorted(times)
    return plan, items


def told(items, direction, number=1):
    """Bytes of a direction; gaps as (length, reason)."""
    parts = []
    for item in items:
        if not isinstance(item, Segment | Gap) or item.connection.number != number:
            continue
        if item.direction != direction:
            continue
        if isinstance(item, Segment):
            if parts and isinstance(parts[-1], bytes):
                parts[-1] += item.data
            else:
                parts.append(item.data)
        else:
            parts.append((item.length, item.reason.value))
    return parts


def codes(connection):
    return [reason.code for reason in connection.reasons]


def tls_talk(host):
    host.library()
    curl = host.run("curl", "https://example.com/")
    socket = curl.connect(CLIENT, SERVER)
    ssl = curl.ssl()
    ssl.join(socket)
    ssl.write(b"GET / HTTP/1.1\r\n\r\n")
    ssl.read(b"HTTP/1.1 200 OK\r\n\r\n")
    return socket, ssl


def test_plaintext_of_a_joined_object_is_the_stream_and_records_are_not():
    host = Host()
    socket, ssl = tls_talk(host)
    ssl.free()
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.network == "10.0.0.2:40000 -> 93.184.216.34:443"
    assert connection.verdict is Verdict.COMPLETE
    assert connection.reasons == ()
    assert connection.encrypted
    assert connection.tls.library.path == "/usr/lib/libssl.so.3"
    assert connection.tls.joined_by == "nested"
    assert connection.owner.comm == "curl"
    assert told(items, Direction.C2S) == [b"GET / HTTP/1.1\r\n\r\n"]
    assert told(items, Direction.S2C) == [b"HTTP/1.1 200 OK\r\n\r\n"]
    segment = next(item for item in items if isinstance(item, Segment))
    assert segment.plaintext
    assert segment.process.argv == ("curl", "https://example.com/")
    assert connection.connect_ns < connection.established_ns < connection.closed_ns


def test_opened_comes_first_and_closed_last():
    host = Host()
    socket, ssl = tls_talk(host)
    socket.close()
    ssl.read(b"was in the library's buffer")
    ssl.free()
    _, items = replayed(host)
    mine = [item for item in items if isinstance(item, Opened | Closed | Segment)]
    assert isinstance(mine[0], Opened)
    assert isinstance(mine[-1], Closed)
    assert sum(isinstance(item, Segment) for item in mine) == 3


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


def test_records_that_nothing_opened_are_opaque():
    host = Host()
    go = host.run("go-client")
    socket = go.connect(CLIENT, SERVER)
    socket.tls = 1
    socket.send(HELLO)
    socket.receive(HELLO)
    socket.send(PROTECTED, missing=MISSING_HEAD)
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.verdict is Verdict.OPAQUE
    assert codes(connection) == [ReasonCode.NO_PROBE]
    assert connection.encrypted
    assert told(items, Direction.C2S) == [HELLO + PROTECTED[:64], (965, "no_probe")]


def test_a_library_that_could_not_be_hooked_is_named():
    host = Host()
    host.library(number=7, path="/opt/libssl.so", hooked=False, detail="no SSL_read")
    app = host.run("app")
    host.tell(EventType.MAPPED, pid=app.pid, start_ticks=app.ticks, library=7, late=False)
    socket = app.connect(CLIENT, SERVER)
    socket.send(HELLO, tls=1)
    socket.close()
    plan, _ = replayed(host)
    [reason] = plan.tables.connections[0].reasons
    assert (reason.code, reason.detail) == (ReasonCode.NO_PROBE, "/opt/libssl.so no SSL_read")


def test_a_library_hooked_after_the_connection_began_was_found_late():
    host = Host()
    host.library()
    app = host.run("app")
    socket = app.connect(CLIENT, SERVER)
    socket.send(HELLO, tls=1)
    host.tell(EventType.MAPPED, pid=app.pid, start_ticks=app.ticks, library=LIBRARY, late=True)
    socket.close()
    plan, _ = replayed(host)
    assert codes(plan.tables.connections[0]) == [ReasonCode.FOUND_LATE]


def test_plaintext_before_the_hook_is_a_gap_of_unknown_length():
    host = Host()
    app = host.run("app")
    socket = app.connect(CLIENT, SERVER)
    socket.tls = 1
    socket.send(HELLO)
    socket.receive(HELLO)
    socket.send(PROTECTED, missing=MISSING_HEAD)
    ssl = app.ssl()
    ssl.join(socket, RECORD, hello=False)
    ssl.write(b"from here on")
    ssl.free()
    socket.close()
    plan, items = replayed(host)
    assert told(items, Direction.C2S) == [(None, "found_late"), b"from here on"]
    assert told(items, Direction.S2C) == [(None, "found_late")]
    assert plan.tables.connections[0].verdict is Verdict.PARTIAL


def test_plaintext_whose_socket_never_became_known_is_a_connection_of_its_own():
    host = Host()
    app = host.run("app")
    ssl = app.ssl()
    ssl.write(b"hello")
    ssl.read(b"world")
    ssl.free()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert (connection.client, connection.server) == (None, None)
    assert connection.network == "? -> ?"
    assert codes(connection) == [ReasonCode.UNJOINED]
    assert connection.verdict is Verdict.COMPLETE  # the process began under our eyes
    assert told(items, Direction.C2S) == [b"hello"]


def test_bytes_before_the_join_go_where_it_leads():
    host = Host()
    app = host.run("python3")
    socket = app.connect(CLIENT, SERVER)
    ssl = app.ssl()
    ssl.write(b"early data")
    ssl.join(socket, RECORD)
    ssl.write(b", then more")
    ssl.free()
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.tls.joined_by == "record"
    assert told(items, Direction.C2S) == [b"early data, then more"]


def test_one_socket_carries_clear_text_and_objects_one_after_the_other():
    host = Host()
    app = host.run("curl")
    socket = app.connect(CLIENT, "10.0.0.8:3128")
    socket.send(b"CONNECT example.com:443\r\n")
    socket.receive(b"200 OK\r\n")
    first = app.ssl()
    first.join(socket)
    first.write(b"first")
    first.free()
    second = app.ssl()
    second.join(socket)
    second.write(b" and second")
    second.read(b"answer")
    second.free()
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.verdict is Verdict.COMPLETE
    assert told(items, Direction.C2S) == [b"CONNECT example.com:443\r\nfirst and second"]
    assert told(items, Direction.S2C) == [b"200 OK\r\nanswer"]
    offsets = [i.offset for i in items if isinstance(i, Segment) and i.direction == Direction.C2S]
    assert offsets == [0, 25, 30]


def test_a_hello_received_before_the_join_is_not_clear_text():
    host = Host()
    server = host.run("python3")
    socket = server.accept("10.0.0.2:587", "10.0.0.7:50000")
    socket.receive(b"STARTTLS\r\n")
    socket.send(b"220 go\r\n")
    socket.receive(HELLO)  # the object is joined when it answers
    ssl = server.ssl()
    ssl.join(socket, RECORD, hello=False)
    socket.send(HELLO)
    ssl.read(b"MAIL FROM")
    ssl.free()
    socket.close()
    _, items = replayed(host)
    assert told(items, Direction.C2S) == [b"STARTTLS\r\nMAIL FROM"]
    assert told(items, Direction.S2C) == [b"220 go\r\n"]


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


def test_much_that_passed_under_tls_without_any_plaintext_is_told():
    host = Host()
    socket, ssl = tls_talk(host)
    socket.offsets = [1_000_000, 1_000_000]
    del host.records[-1]  # the only plaintext received; nothing says that it was lost
    del ssl
    socket.close()
    plan, _ = replayed(host)
    [connection] = plan.tables.connections
    assert connection.verdict_c2s is Verdict.COMPLETE
    assert connection.verdict_s2c is Verdict.PARTIAL
    assert codes(connection) == [ReasonCode.NO_PAYLOAD_SEEN]


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


def test_a_listener_decides_which_end_of_an_older_connection_is_the_server():
    host = Host()
    host.tell(EventType.SOCKET, state="LISTEN", local="0.0.0.0", local_port=9000, netns=4026531840)
    app = host.known("app")
    socket = app.older("10.0.0.2:9000", "10.0.0.7:443")
    socket.send(b"x")
    plan, _ = replayed(host)
    assert plan.tables.connections[0].server.port == 9000


def test_a_refused_connect_is_an_attempt_with_its_error():
    host = Host()
    app = host.run("nc")
    from builders.samples import CLOSE, SYN_SENT, Socket

    socket = Socket(app, "10.0.0.2:0", "10.0.0.9:81")
    socket.state(CLOSE, SYN_SENT)
    socket.state(SYN_SENT, CLOSE, task=False, error=111)
    socket.state(CLOSE, CLOSE, type_=12, task=False)
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.error == "ECONNREFUSED"
    assert codes(connection) == [ReasonCode.ATTEMPT_FAILED]
    assert connection.client.port == 0
    assert connection.owner.pid == app.pid
    assert [type(i) for i in items if isinstance(i, Opened | Closed)] == [Opened, Closed]


def test_a_listening_socket_is_no_connection():
    host = Host()
    nginx = host.run("nginx")
    nginx.listen("0.0.0.0:80").close()
    plan, _ = replayed(host)
    assert plan.tables.connections == ()


def both_ends(host, netns=0):
    nginx = host.run("nginx")
    curl = host.run("curl")
    client = curl.connect("127.0.0.1:40000", "127.0.0.1:80")
    over = {"netns": netns} if netns else {}
    server = nginx.accept("127.0.0.1:80", "127.0.0.1:40000", **over)
    client.send(b"ping")
    server.receive(b"ping")
    server.send(b"pong")
    client.receive(b"pong")
    client.close()
    server.close()
    return client, server


@pytest.mark.parametrize("netns", [0, 4_026_532_999])
def test_two_local_ends_are_one_connection(netns):
    host = Host()
    both_ends(host, netns)
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.side is Side.CLIENT
    assert connection.client_process.comm == "curl"
    assert connection.server_process.comm == "nginx"
    assert [view.side for view in connection.endpoints] == [Side.CLIENT, Side.SERVER]
    assert told(items, Direction.C2S) == [b"ping"]
    assert told(items, Direction.S2C) == [b"pong"]


def test_a_mirror_in_another_namespace_must_be_the_only_one():
    host = Host()
    both_ends(host, 4_026_532_999)
    curl = host.run("curl")
    del host.records[-8:]  # the ends live on
    curl.connect("127.0.0.1:40000", "127.0.0.1:80", netns=4_026_533_000)
    plan, _ = replayed(host)
    assert len(plan.tables.connections) == 3


def test_a_chosen_side_is_shown():
    host = Host()
    both_ends(host)
    plan, items = replayed(host, SideChoice.SERVER)
    [connection] = plan.tables.connections
    assert connection.side is Side.SERVER
    assert {i.process.comm for i in items if isinstance(i, Segment)} == {"nginx"}
    plan, items = replayed(host, SideChoice.BOTH)
    assert [c.side for c in plan.tables.connections] == [Side.CLIENT, Side.SERVER]
    assert told(items, Direction.C2S, 1) == told(items, Direction.C2S, 2) == [b"ping"]


def test_the_better_side_is_shown():
    host = Host()
    nginx = host.run("nginx")
    curl = host.run("curl")
    client = curl.connect("127.0.0.1:40000", "127.0.0.1:80")
    server = nginx.accept("127.0.0.1:80", "127.0.0.1:40000")
    with host.losing():
        client.send(b"ping")
    server.receive(b"ping")
    client.close()
    server.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    assert connection.side is Side.SERVER
    assert connection.verdict is Verdict.COMPLETE
    assert connection.endpoints[0].verdict is Verdict.PARTIAL
    assert told(items, Direction.C2S) == [b"ping"]


def test_mapped_addresses_are_the_ipv4_ones():
    host = Host()
    both = host.run("java")
    curl = host.run("curl")
    curl.connect("10.1.1.1:40000", "10.1.1.2:8080")
    both.accept("[::ffff:10.1.1.2]:8080", "[::ffff:10.1.1.1]:40000")
    plan, _ = replayed(host)
    [connection] = plan.tables.connections
    assert connection.server.ip == "10.1.1.2"
    assert place("[::1]:80")[0] == 10


def test_one_address_serves_many_sockets_and_objects():
    host = Host()
    nginx = host.run("nginx")
    for port in (50_000, 50_001):
        socket = nginx.accept("10.0.0.2:443", f"10.0.0.7:{port}", sk=0xFFFF_8880_1234_5000)
        ssl = nginx.ssl(address=0x5555_0000)
        ssl.join(socket)
        ssl.read(str(port).encode())
        ssl.free()
        socket.close()
    plan, items = replayed(host)
    assert len(plan.tables.connections) == 2
    assert told(items, Direction.C2S, 1) == [b"50000"]
    assert told(items, Direction.C2S, 2) == [b"50001"]


def test_one_pid_is_many_processes():
    host = Host()
    first = host.run("curl", pid=77)
    socket = first.connect(CLIENT, SERVER)
    ssl = first.ssl(address=0x5555_0000)
    ssl.join(socket)
    ssl.write(b"a")
    first.exit(7 << 8)
    host.tick(20 * MS)
    second = host.run("wget", pid=77)
    socket = second.connect("10.0.0.2:40001", SERVER)
    ssl = second.ssl(address=0x5555_0000)
    ssl.join(socket)
    ssl.write(b"b")
    plan, _ = replayed(host)
    one, two = plan.tables.connections
    assert (one.owner.comm, two.owner.comm) == ("curl", "wget")
    assert one.owner.entity_id != two.owner.entity_id
    final = {p.comm: p for p in plan.tables.processes}
    assert final["curl"].exit_code == 7
    assert final["wget"].exit_ns is None


def test_a_connection_belongs_to_the_worker_that_spoke():
    host = Host()
    master = host.run("postgres")
    socket = master.accept("10.0.0.2:5432", "10.0.0.7:50000")
    worker = master.fork()
    socket.receive(b"select", by=worker)
    socket.send(b"row", by=worker)
    socket.close()
    plan, items = replayed(host)
    [connection] = plan.tables.connections
    segments = [i for i in items if isinstance(i, Segment)]
    assert {s.process.pid for s in segments} == {worker.pid}
    assert worker.pid in {p.pid for p in connection.processes}


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


@pytest.mark.parametrize("seed", range(25))
def test_any_interleaving_of_cpus_gives_the_same(seed):
    host = Host()
    socket, ssl = tls_talk(host)
    both_ends(host)
    for index in range(40):
        ssl.write(b"piece %d" % index)
        if index == 20:
            with host.losing():
                ssl.read(b"lost")
        ssl.read(bytes([index]) * 40_000)
    ssl.free()
    socket.close()
    host.losses()
    plain, expected = replayed(host)
    mixed, found = replayed(host, shuffle=random.Random(seed))

    def comparable(items):
        return [_without_record(item) for item in items]

    assert mixed.tables == plain.tables
    assert mixed.counts.stragglers == 0
    assert comparable(found) == comparable(expected)


def _without_record(item):
    if isinstance(item, Segment):
        return (item.connection.number, item.direction, item.offset, item.data, item.time_ns)
    return item


def test_a_straggler_is_put_in_its_place_and_counted():
    from builders.samples import ListSource, round_event

    host = Host()
    socket, ssl = tls_talk(host)
    ssl.write(b"second")
    ssl.write(b"third")
    ssl.free()
    socket.close()
    expected = replayed(host)[1]
    records = host.source().records
    late = records.pop(-5)
    end = round_event(host.time_ns + 1)
    source = ListSource([*records, end, end, late], host.header)
    plan = survey(source)
    assert plan.counts.stragglers == 1
    found = list(iter_traffic(source, plan))
    assert [_without_record(i) for i in found] == [_without_record(i) for i in expected]


def test_pieces_out_of_order_wait_for_those_before_them():
    host = Host()
    nc = host.run("nc")
    socket = nc.connect(CLIENT, "10.0.0.9:80")
    socket.send(b"first")
    one = host.records.pop()
    socket.send(b"second")
    two = host.records.pop()
    # Two threads: the offsets were given out in the other order than the times.
    one.raw = one.raw[:8] + (host.time_ns + 5).to_bytes(8, "little") + one.raw[16:]
    host.tick()
    host.records += [two, one]
    socket.close()
    _, items = replayed(host)
    assert told(items, Direction.C2S) == [b"firstsecond"]
