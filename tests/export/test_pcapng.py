"""The pcapng of ordinary traffic, as tshark without preferences reads it."""

import random
from dataclasses import replace

import pytest
from builders.traffic import (
    CURL,
    EPOCH_NS,
    MS,
    NGINX,
    START_NS,
    Talk,
    clock,
    connection,
    feed,
    merge,
    process,
    raw,
    request,
    response,
    tables,
    tls_connection,
)
from builders.tshark import Tshark, to_classic_pcap

from qtapture.errors import UsageError
from qtapture.events import Direction, Reason, ReasonCode, Side, Verdict
from qtapture.export import EXPORTS, ExportOptions

GET = raw(request("GET", "/index.html"))


def answer(body: bytes) -> bytes:
    return raw(response(200, ("Content-Type", "application/octet-stream"), body=body))


def write(path, survey, items, **options):
    feed(EXPORTS["pcapng"].open(path, clock(), ExportOptions(**options)), survey, items)
    return Tshark(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.pcapng"


def simple_talk(**over) -> Talk:
    return Talk(tls_connection(**over)).open().client(GET).server(answer(b"hello")).close()


def test_a_decrypted_exchange_is_dissected_as_http(path):
    talk = simple_talk()
    shark = write(path, tables(talk.connection), talk.items)
    assert shark.column("http.request.uri", "http.request") == ["/index.html"]
    assert shark.column("http.response.code", "http.response") == ["200"]
    assert shark.count("tcp.analysis.flags") == 0
    assert shark.count("_ws.expert.severity >= 6291456") == 0  # warnings and errors


@pytest.mark.parametrize("size", [1, 65536, 8 << 20])
def test_exported_objects_are_byte_equal(path, tmp_path, size):
    body = random.Random(size).randbytes(size)
    talk = Talk(tls_connection(), step_ns=1000).open().client(GET).server(answer(body)).close()
    shark = write(path, tables(talk.connection), talk.items)
    assert list(shark.objects(tmp_path / "objects").values()) == [body]
    assert shark.count("tcp.analysis.flags") == 0
    assert shark.bad_checksums() == 0
    assert shark.good_checksums() == shark.count("tcp")


def test_following_the_stream_gives_each_direction_whole(path):
    talk = Talk(tls_connection()).open()
    for n in range(5):
        talk.client(b"question %d\n" % n).server(b"answer %d\n" % n * 3000)
    talk.close()
    shark = write(path, tables(talk.connection), talk.items)
    c2s, s2c = shark.stream(0)
    assert c2s == b"".join(b"question %d\n" % n for n in range(5))
    assert s2c == b"".join(b"answer %d\n" % n * 3000 for n in range(5))
    assert shark.count("tcp.analysis.flags") == 0


def test_ipv6_connections_are_whole_and_have_good_checksums(path):
    talk = simple_talk(client="[2001:db8::5]:40000", server="[2001:db8::80]:443")
    shark = write(path, tables(talk.connection), talk.items)
    assert shark.column("ipv6.dst", "http.request") == ["2001:db8::80"]
    assert shark.bad_checksums() == 0
    assert shark.good_checksums() == shark.count("tcp")
    assert shark.count("tcp.analysis.flags") == 0


def test_odd_and_empty_lengths_have_good_checksums(path):
    talk = Talk(tls_connection()).open()
    for size in (1, 2, 3, 5, 1001, 16383, 16384):
        talk.client(bytes([255]) * size).server(bytes(size))
    talk.close()
    shark = write(path, tables(talk.connection), talk.items)
    assert shark.bad_checksums() == 0
    assert shark.good_checksums() == shark.count("tcp") > 14


def test_each_process_is_an_interface(path):
    one = simple_talk()
    wget = process(77, "wget", container="web")
    two = Talk(
        tls_connection(2, client="10.0.0.5:40001", owner=wget), first_record=50, start_ns=START_NS
    )
    two.open().client(GET).close()
    shark = write(path, tables(one.connection, two.connection), merge(one, two))
    rows = shark.fields("frame.interface_name", "frame.interface_description", where="http.request")
    assert [row[0] for row in rows] == ["curl[4242]", "wget[77]"]
    assert "/usr/bin/wget" in rows[1][1]
    assert "container: web" in rows[1][1]
    assert "user: alice" in rows[1][1]
    assert "server port 443 shown as 80" in rows[1][1]


def test_a_worker_that_speaks_has_its_own_interface(path):
    worker = process(81, "nginx")
    parent = replace(NGINX)
    served = connection(
        1, server="10.0.0.5:80", client="10.0.0.9:5000", owner=parent, side=Side.SERVER
    )
    talk = Talk(served, plaintext=False).open().client(GET, by=parent).server(b"x", by=worker)
    shark = write(path, tables(served), talk.items)
    assert shark.column("frame.interface_name", "tcp.len > 0") == ["nginx[80]", "nginx[81]"]


def test_direction_flags_are_those_of_the_shown_process(path):
    mine = simple_talk()
    theirs = Talk(
        connection(2, client="10.9.9.9:1234", server="10.0.0.5:80", owner=NGINX, side=Side.SERVER),
        plaintext=False,
        start_ns=START_NS + 100 * MS,
    )
    theirs.open().client(GET).server(answer(b"x"))
    shark = write(path, tables(mine.connection, theirs.connection), merge(mine, theirs))
    ways = shark.fields("tcp.stream", "frame.packet_flags_direction", where="tcp.len > 0")
    inbound, outbound = "0x00000001", "0x00000002"
    assert ways == [["0", outbound], ["0", inbound], ["1", inbound], ["1", outbound]]


def test_the_packet_id_is_the_record_of_the_session(path):
    talk = Talk(tls_connection(), first_record=700).open().client(GET).server(b"x").close()
    shark = write(path, tables(talk.connection), talk.items)
    assert shark.column("frame.packet_id", "tcp.len > 0") == ["700", "701"]
    assert set(shark.column("frame.packet_id", "tcp.len == 0")) == {""}


def test_the_first_packet_says_whose_it_is_and_what_is_synthesised(path):
    reason = Reason(
        code=ReasonCode.LOST_SAMPLES, direction=Direction.S2C, start=10, end=20, detail="ring 3"
    )
    talk = simple_talk(verdict=Verdict.PARTIAL, reasons=(reason,))
    shark = write(path, tables(talk.connection), talk.items)
    numbers = shark.fields("frame.number", "frame.comment", where="frame.comment")
    assert [row[0] for row in numbers] == ["1"]
    text = numbers[0][1]
    for part in (
        "connection 1: curl[4242] user alice",
        "10.0.0.5:40000 -> 93.184.216.34:443",
        "server port 443 shown as 80",
        "seen from the client",
        "TLSv1.3 example.com http/1.1",
        "verdict partial; lost_samples server to client offsets 10 to 20 (ring 3)",
        "headers are synthesised",
    ):
        assert part in text


def test_both_processes_of_a_connection_within_the_host_are_named(path):
    both = simple_talk(server_process=NGINX, server="127.0.0.1:443", client="127.0.0.1:40000")
    shark = write(path, tables(both.connection), both.items)
    assert "peer nginx[80] user www-data" in shark.column("frame.comment", "frame.number==1")[0]


def test_the_section_names_the_session(path):
    talk = simple_talk()
    info = write(path, tables(talk.connection), talk.items).capinfos()
    assert "3f1c7c60-6b1f-4f0e-9a57-3a1f64e3a2b1" in info
    assert "cd" * 32 in info
    assert "qtapture 0.1.0" in info
    assert "Linux 6.1.0-28-amd64" in info
    assert "x86_64" in info


def test_times_are_wall_times_with_nanoseconds(path):
    talk = Talk(tls_connection(), step_ns=MS + 7).open().client(GET)
    shark = write(path, tables(talk.connection), talk.items)
    assert shark.column("frame.time_epoch", "http.request") == [
        f"{EPOCH_NS // 10**9}.{2 * (MS + 7):09d}"
    ]


def test_the_same_input_gives_the_same_bytes(tmp_path):
    files = [tmp_path / "a.pcapng", tmp_path / "b.pcapng"]
    for file in files:
        one, two = simple_talk(), simple_talk(number=2, client="10.0.0.5:40001")
        write(file, tables(one.connection, two.connection), merge(one, two))
    assert files[0].read_bytes() == files[1].read_bytes()


def test_it_converts_to_classic_pcap(path, tmp_path):
    talk = simple_talk().lost(3)
    write(path, tables(talk.connection), talk.items)
    to_classic_pcap(path, tmp_path / "out.pcap")
    assert Tshark(tmp_path / "out.pcap").count("http") == 2


def test_the_http2_preface_has_a_packet_of_its_own(path):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = bytes.fromhex("000000040000000000")
    talk = Talk(tls_connection()).open().client(preface + settings).server(settings)
    shark = write(path, tables(talk.connection), talk.items)
    assert shark.column("tcp.len", "tcp.len > 0") == ["24", "9", "9"]
    assert shark.count("http2.type == 4") == 2


def test_an_output_that_exists_is_refused_and_kept(path):
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        EXPORTS["pcapng"].open(path, clock(), ExportOptions())
    assert path.read_bytes() == b"precious"
    talk = simple_talk()
    assert write(path, tables(talk.connection), talk.items, force=True).count("http") == 2


def test_an_abandoned_export_leaves_nothing(path):
    export = EXPORTS["pcapng"].open(path, clock(), ExportOptions())
    export.begin(tables(simple_talk().connection))
    export.abandon()
    export.abandon()
    assert list(path.parent.iterdir()) == []


def test_names_from_the_host_cannot_reach_a_terminal_with_escapes(path):
    evil = process(66, "\x1b[31mred\n", argv=("a", "\x1b]0;x\x07" + "y" * 100_000))
    talk = simple_talk(owner=evil)
    write(path, tables(talk.connection), talk.items)
    data = path.read_bytes()
    assert b"\x1b" not in data
    assert len(data) < 20_000


def test_a_process_that_nobody_knows_is_called_unknown(path):
    talk = simple_talk(owner=None)
    shark = write(path, tables(talk.connection), talk.items)
    assert set(shark.column("frame.interface_name")) == {"unknown"}
    assert CURL.label not in shark.column("frame.comment")[0]
