import pytest
from builders.records import MS, place
from builders.replayed import CLIENT, SERVER, both_ends, codes, replayed, told
from builders.samples import Host

from qtapture.events import (
    Closed,
    Direction,
    Opened,
    ReasonCode,
    Segment,
    Side,
    Verdict,
)
from qtapture.reassembly import SideChoice
from qtapture.source import EventType


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
    from builders.records import CLOSE, SYN_SENT
    from builders.samples import Socket

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
