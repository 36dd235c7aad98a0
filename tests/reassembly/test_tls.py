from builders.records import HELLO, LIBRARY, MISSING_HEAD, PROTECTED, RECORD
from builders.replayed import CLIENT, SERVER, codes, replayed, tls_talk, told
from builders.samples import Host

from qtapture.events import (
    Closed,
    Direction,
    Opened,
    ReasonCode,
    Segment,
    Verdict,
)
from qtapture.source import EventType


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
