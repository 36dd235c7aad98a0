from builders.records import EPOCH_NS, MISSING_HEAD, PROTECTED, START_NS, json_event
from builders.samples import Host

from qtapture.analysis import analyse, summarise
from qtapture.events import Closed, Exchange, Gap, Opened, Segment, Verdict
from qtapture.source import EventType

ASKED = b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n"
ANSWERED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def talk(host, port=40_000):
    curl = host.run("curl", "https://example.com/a")
    socket = curl.connect(f"10.0.0.2:{port}", "93.184.216.34:443")
    ssl = curl.ssl()
    ssl.join(socket)
    ssl.write(ASKED)
    ssl.read(ANSWERED)
    return socket, ssl


def shown(item):
    """What of an item must be the same each time; bodies are objects of their own."""
    if isinstance(item, Exchange):
        return (item.number, item.connection.number, item.index, item.request.target)
    return item


def test_an_exchange_follows_what_completed_it():
    host = Host()
    socket, ssl = talk(host)
    ssl.free()
    socket.close()
    items = list(analyse(host.source()).iter_items())
    kinds = [type(i) for i in items if isinstance(i, Segment | Exchange | Opened | Closed)]
    assert kinds == [Opened, Segment, Segment, Exchange, Closed]
    [exchange] = [i for i in items if isinstance(i, Exchange)]
    assert exchange.request.method == "GET"
    assert exchange.response.status == 200
    assert b"".join(exchange.response.body.iter_decoded()) == b"hi"
    assert exchange.process.comm == "curl"
    assert exchange.number == 1


def test_exchanges_are_numbered_over_all_connections():
    host = Host()
    talks = [talk(host, 40_000 + n) for n in range(3)]
    for _, ssl in reversed(talks):
        ssl.write(ASKED)
        ssl.read(ANSWERED)
    exchanges = [i for i in analyse(host.source()).iter_items() if isinstance(i, Exchange)]
    assert [e.number for e in exchanges] == [1, 2, 3, 4, 5, 6]
    assert [(e.connection.number, e.index) for e in exchanges] == [
        *((1, 1), (2, 1), (3, 1)),
        *((3, 2), (2, 2), (1, 2)),
    ]


def test_a_request_without_an_answer_is_told_at_the_end():
    host = Host()
    socket, ssl = talk(host)
    ssl.write(ASKED)
    ssl.free()
    socket.close()
    exchanges = [i for i in analyse(host.source()).iter_items() if isinstance(i, Exchange)]
    assert len(exchanges) == 2
    assert exchanges[1].response is None


def test_a_gap_reaches_the_conversation():
    host = Host()
    socket, ssl = talk(host)
    ssl.write(ASKED)
    ssl.read(ANSWERED[:-1])
    with host.losing():
        ssl.read(ANSWERED[-1:])
    ssl.free()
    socket.close()
    items = list(analyse(host.source()).iter_items())
    exchanges = [i for i in items if isinstance(i, Exchange)]
    assert any(isinstance(i, Gap) for i in items)
    assert exchanges[0].response.complete
    assert not exchanges[1].response.complete


def test_the_same_source_gives_the_same_each_time():
    host = Host()
    socket, ssl = talk(host)
    ssl.free()
    socket.close()
    host.losses()
    analysis = analyse(host.source())
    first = [shown(item) for item in analysis.iter_items()]
    assert [shown(item) for item in analysis.iter_items()] == first
    other = analyse(host.source())
    assert other.tables == analysis.tables
    assert [shown(item) for item in other.iter_items()] == first


def test_opaque_bytes_are_not_parsed():
    host = Host()
    socket = host.run("go").connect("10.0.0.2:1", "10.0.0.3:443")
    socket.send(b"\x16\x03\x01\x00\x10" + ASKED, tls=1)
    socket.send(PROTECTED, missing=MISSING_HEAD, tls=1)
    socket.close()
    analysis = analyse(host.source())
    assert analysis.tables.connections[0].verdict is Verdict.OPAQUE
    assert not any(isinstance(i, Exchange) for i in analysis.iter_items())


def test_the_clock_follows_the_anchors():
    import struct

    from qtapture.source import EventRecord

    host = Host()
    host.run("x")
    later = START_NS + 10**9
    body = struct.pack("<QQQ", later, later, EPOCH_NS + 2 * 10**9)
    host.records.append(EventRecord(EventType.ANCHOR, 1, later, body))
    clock = analyse(host.source()).clock
    assert clock.realtime_ns(START_NS + 5) == EPOCH_NS + 5
    assert clock.realtime_ns(later + 5) == EPOCH_NS + 2 * 10**9 + 5


def test_the_summary_checks_that_loss_adds_up():
    host = Host()
    _socket, ssl = talk(host)
    with host.losing():
        ssl.read(b"lost")
    host.losses()
    summary = summarise(analyse(host.source()))
    tls = next(row for row in summary.rows["loss"] if row["kind"] == "tls")
    assert (tls["submitted"], tls["in_file"], tls["lost"], tls["lost_bytes"]) == (3, 2, 1, 4)
    assert tls["adds_up"]
    assert summary.balanced
    host.records = [r for r in host.records if not _is_tls(r)]
    broken = summarise(analyse(host.source()))
    assert not broken.balanced


def _is_tls(record):
    return getattr(record, "raw", b"\0\0\0")[2] == 1


def test_notes_and_ends_are_in_the_summary():
    host = Host()
    host.records.append(json_event(EventType.NOTE, START_NS + 1, code="x", text="said"))
    host.records.append(json_event(EventType.END, START_NS + 2, reason="duration", detail=""))
    notes = summarise(analyse(host.source())).rows["notes"]
    assert [note.get("reason") or note["text"] for note in notes] == ["said", "duration"]
