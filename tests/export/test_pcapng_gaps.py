"""What is missing, failed, older or in the way: how a pcapng shows it."""

import itertools
import tracemalloc
from pathlib import Path

import pytest
from builders.traffic import (
    MS,
    SECOND,
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
from builders.tshark import Tshark

from qtapture.events import Closed, Direction, Gap, Opened, ReasonCode, Segment, Verdict
from qtapture.export import EXPORTS, ExportOptions
from qtapture.timebase import Anchor, Clock

GET = raw(request("GET", "/index.html"))
OK = raw(response(body=b"hello"))
C2S, S2C = Direction.C2S, Direction.S2C


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.pcapng"


def write(path, survey, items, at=None):
    feed(EXPORTS["pcapng"].open(path, at or clock(), ExportOptions()), survey, items)
    return Tshark(path)


def written(path, *talks, **more):
    return write(path, tables(*(t.connection for t in talks)), merge(*talks), **more)


def test_a_gap_of_known_length_is_a_hole_in_the_sequence_numbers(path):
    talk = Talk(tls_connection()).open().server(b"x" * 100).gap(S2C, 1000).server(b"y" * 50)
    shark = written(path, talk)
    rows = shark.fields("tcp.seq", "tcp.len", "frame.comment", where="tcp.len > 0")
    assert [row[:2] for row in rows] == [["1", "100"], ["1101", "50"]]
    assert "gap of 1000 bytes server to client from offset 100: lost_samples" in rows[1][2]
    assert shark.count("tcp.analysis.lost_segment") == 1


def test_a_gap_before_the_first_byte_is_a_hole_after_the_handshake(path):
    talk = Talk(tls_connection()).open().gap(C2S, 7).client(b"abc")
    shark = written(path, talk)
    assert shark.column("tcp.seq", "tcp.len > 0") == ["8"]


def test_a_gap_at_the_end_is_said_on_the_fin(path):
    talk = Talk(tls_connection()).open().server(b"abc").gap(S2C, 100).close()
    shark = written(path, talk)
    rows = shark.fields("tcp.seq", "frame.comment", where="tcp.flags.fin==1 && tcp.srcport==80")
    assert rows[0][0] == "104"
    assert "gap of 100 bytes" in rows[0][1]


def test_a_gap_of_unknown_length_goes_on_in_another_connection_that_names_the_first(path):
    talk = Talk(tls_connection()).open().client(GET).server(OK)
    talk.gap(C2S, None).client(GET).server(OK).close()
    shark = written(path, talk)
    rows = shark.fields(
        "tcp.stream", "tcp.srcport", "tcp.dstport", "frame.comment", where="http.request"
    )
    assert [row[0] for row in rows] == ["0", "1"]
    assert rows[1][1:3] == ["65535", "80"]
    assert "connection 1 goes on here, client to server" in rows[1][3]
    assert "begins with client port 40000" in rows[1][3]
    assert "gap of unknown length" in rows[1][3]
    # The other direction misses nothing and stays.
    assert shark.column("tcp.stream", "http.response") == ["0", "0"]
    assert shark.bad_checksums() == 0


def test_directions_that_both_lost_an_unknown_length_meet_again(path):
    talk = Talk(tls_connection()).open().client(GET).server(OK)
    talk.gap(C2S, None).gap(S2C, None).client(GET).server(OK).close()
    shark = written(path, talk)
    assert shark.column("tcp.stream", "http") == ["0", "0", "1", "1"]
    assert shark.column("tcp.stream", "tcp.flags.fin == 1") == ["1", "1"]
    assert shark.count("tcp.analysis.flags") == 0


def test_a_direction_that_is_behind_joins_the_other(path):
    talk = Talk(tls_connection()).open().client(GET)
    for _ in range(3):
        talk.gap(C2S, None).client(GET)
    talk.gap(S2C, None).server(OK).close()
    shark = written(path, talk)
    assert shark.column("tcp.stream", "http.request") == ["0", "1", "2", "3"]
    assert shark.column("tcp.stream", "http.response") == ["3"]


def test_more_gaps_of_unknown_length_than_ports_neither_fail_nor_pile_up(path):
    talk = Talk(tls_connection(), step_ns=1000).open()
    for _ in range(1200):
        talk.gap(S2C, None).server(b"abc")
    talk.close()
    shark = written(path, talk)
    assert shark.count("tcp.len == 3") == 1200
    assert len(set(shark.column("tcp.stream"))) == 1001


def test_a_hole_as_large_as_half_the_sequence_space_is_a_new_connection(path):
    talk = Talk(tls_connection()).open().server(b"a").gap(S2C, 5 << 30).server(b"b")
    shark = written(path, talk)
    assert shark.column("tcp.stream", "tcp.len > 0") == ["0", "1"]


def test_sequence_numbers_wrap_beyond_four_gibibytes(path):
    talk = Talk(tls_connection()).open()
    for _ in range(5):
        talk.server(b"x" * 10).gap(S2C, 1 << 30)
    talk.server(b"end").close()
    shark = written(path, talk)
    raw_numbers = [int(n) for n in shark.column("tcp.seq_raw", "tcp.len > 0")]
    assert {(b - a) % 2**32 for a, b in itertools.pairwise(raw_numbers)} == {(1 << 30) + 10}
    assert shark.bad_checksums() == 0


def test_an_older_connection_has_no_handshake_and_says_so(path):
    talk = Talk(tls_connection(older=True, verdict=Verdict.PARTIAL))
    talk.gap(C2S, None, ReasonCode.OLDER_THAN_RECORDING).client(GET).server(OK).close()
    shark = written(path, talk)
    assert shark.count("tcp.flags.syn == 1") == 0
    first = shark.column("frame.comment", "frame.number == 1")[0]
    assert "older than the recording" in first
    assert "gap of unknown length client to server from offset 0: older_than_recording" in first
    assert shark.count("http") == 2
    assert shark.count("tcp.analysis.flags") == 0


def test_an_older_connection_with_much_in_one_direction_has_no_warnings(path):
    talk = Talk(tls_connection(older=True), step_ns=1000).server(b"z" * (1 << 20)).close()
    assert written(path, talk).count("tcp.analysis.flags") == 0


def test_a_connection_that_stayed_open_has_no_fin(path):
    talk = Talk(tls_connection(closed_ns=None)).open().client(GET).close()
    assert written(path, talk).count("tcp.flags.fin == 1") == 0


def failed(error):
    return connection(error=error, established_ns=None, closed_ns=None)


def test_a_refused_connect_is_a_syn_and_a_rst(path):
    talk = Talk(failed("ECONNREFUSED")).open().close()
    shark = written(path, talk)
    assert shark.column("tcp.flags.str") == ["··········S·", "·······A·R··"]
    text = shark.column("frame.comment")[0]
    assert "error ECONNREFUSED" in text
    assert "the SYN and the RST and all headers are synthesised" in text


def test_a_connect_that_timed_out_is_a_syn_alone(path):
    shark = written(path, Talk(failed("ETIMEDOUT")).open().close())
    assert shark.column("tcp.flags.syn") == ["1"]


def test_losses_are_counted_on_the_next_packet_and_at_the_end(path):
    talk = Talk(tls_connection()).open().client(b"a").lost(3).lost(4).server(b"b").close()
    shark = written(path, talk)
    rows = shark.fields("tcp.len", "frame.drop_count", where="frame.drop_count")
    assert rows == [["1", "7"]]


def test_undecrypted_tls_stays_on_its_real_port(path):
    opaque = tls_connection(
        verdict=Verdict.OPAQUE, verdict_c2s=Verdict.OPAQUE, verdict_s2c=Verdict.OPAQUE
    )
    hello = bytes.fromhex("15030300020100")  # an alert record: close_notify
    talk = Talk(opaque, plaintext=False).open().client(hello).close()
    shark = written(path, talk)
    assert shark.column("tcp.dstport", "tls") == ["443"]
    assert "shown as" not in shark.column("frame.comment")[0]


def test_plaintext_gives_way_to_a_real_connection_on_the_same_ports(path):
    decrypted = Talk(tls_connection(1)).open().client(GET).server(OK).close()
    real = Talk(connection(2, server="93.184.216.34:80"), plaintext=False, start_ns=START_NS + 5)
    real.open().client(GET).server(OK).close()
    shark = written(path, decrypted, real)
    rows = shark.fields("tcp.dstport", "frame.comment", where="tcp.flags == 2")
    assert [row[0] for row in rows] == ["8080", "80"]
    assert "server port 443 shown as 8080" in rows[0][1]
    assert shark.count("http") == 4
    assert shark.count("tcp.analysis.flags") == 0


def test_when_every_http_port_is_taken_the_client_port_changes(path):
    talks = [
        Talk(tls_connection(n), start_ns=START_NS + n).open().client(GET).server(OK).close()
        for n in range(1, 6)
    ]
    shark = written(path, *talks)
    ends = shark.fields("tcp.srcport", "tcp.dstport", where="tcp.flags == 2")
    assert ends == [
        ["40000", "80"], ["40000", "8080"], ["40000", "8088"], ["65535", "80"], ["65534", "80"]
    ]  # fmt: skip
    assert "client port 40000 shown as 65534" in shark.column("frame.comment", "tcp.flags==2")[4]
    assert shark.count("http.request") == 5
    assert shark.count("tcp.analysis.flags") == 0


def test_the_same_ports_in_two_network_namespaces_stay_apart(path):
    talks = [
        Talk(connection(n, server="10.0.0.1:80"), plaintext=False, start_ns=START_NS + n)
        .open().client(GET).server(OK).close()
        for n in (1, 2)
    ]  # fmt: skip
    shark = written(path, *talks)
    assert len(set(shark.column("tcp.stream"))) == 2
    assert shark.count("tcp.analysis.flags") == 0


def test_ports_used_again_later_are_shown_as_they_were(path):
    first = Talk(connection(1, server="10.0.0.1:80"), plaintext=False).open().client(GET).close()
    later = {"first_ns": START_NS + 2 * SECOND, "last_ns": START_NS + 3 * SECOND}
    second = Talk(
        connection(2, server="10.0.0.1:80", **later),
        plaintext=False,
        start_ns=START_NS + 2 * SECOND,
    )
    second.open().client(GET).close()
    shark = written(path, first, second)
    assert shark.column("tcp.srcport", "http") == ["40000", "40000"]


@pytest.mark.parametrize(
    ("port", "alpn", "shown"),
    [
        (443, None, "80"),
        (8443, None, "8080"),
        (993, None, "143"),
        (9443, "h2", "80"),
        (9443, "http/1.1", "9443"),
        (8080, "h2", "8080"),
        (5432, None, "5432"),
    ],
)
def test_plaintext_of_tls_is_shown_where_readers_expect_it(path, port, alpn, shown):
    tls = tls_connection().tls
    facts = {"tls": None if alpn is None else type(tls)(alpn=alpn)}
    talk = Talk(tls_connection(server=f"10.0.0.1:{port}", **facts)).open().client(GET)
    assert written(path, talk).column("tcp.dstport")[0] == shown


def test_plaintext_without_a_known_socket_has_documented_addresses(path):
    talks = [
        Talk(tls_connection(n, client=None, server=None, older=True), start_ns=START_NS + n)
        .client(GET)
        .server(OK)
        .close()
        for n in (7, 8)
    ]
    shark = written(path, *talks)
    rows = shark.fields("ipv6.src", "ipv6.dst", "tcp.dstport", where="http.request")
    assert rows[0] == ["fd51:5441::1:0:7", "fd51:5441::2:0:7", "80"]
    assert rows[1][0] == "fd51:5441::1:0:8"
    assert "client address unknown, shown as fd51:5441::1:0:7" in shark.column("frame.comment")[0]


@pytest.mark.parametrize(
    ("client", "server", "seen"),
    [
        (None, "10.0.0.1:80", ["198.18.0.1", "10.0.0.1"]),
        ("10.0.0.9:1", None, ["10.0.0.9", "198.18.0.1"]),
        ("10.0.0.9:0", "not-an-address:80", ["10.0.0.9", "198.18.0.1"]),
    ],
)
def test_one_unknown_end_gets_an_address_of_the_same_family(path, client, server, seen):
    talk = Talk(connection(1, client=client, server=server), plaintext=False).open().client(GET)
    assert written(path, talk).fields("ip.src", "ip.dst")[0] == seen


def test_a_zone_and_mixed_families_are_no_obstacle(path):
    talk = Talk(connection(1, client="fe80::1%eth0:5", server="10.0.0.1:80")).open().client(GET)
    shark = written(path, talk)
    assert shark.fields("ipv6.src", "ipv6.dst")[0] == ["fe80::1", "::ffff:10.0.0.1"]


def test_a_recording_without_connections_is_a_valid_file(path):
    info = write(path, tables(), []).capinfos()
    assert "Number of packets:   0" in info


def test_segments_of_a_connection_that_nobody_announced_are_shown(path):
    stray = Talk(connection(99, server="10.0.0.1:80"), plaintext=False).client(GET)
    shark = write(path, tables(), stray.items)
    assert shark.count("http.request") == 1


def test_segments_after_the_end_do_not_fail(path):
    talk = Talk(tls_connection()).open().client(GET).close().server(OK)
    assert written(path, talk).count("http") == 2


def test_a_process_first_seen_in_a_segment_gets_its_interface_then(path):
    late = process(900, "late")
    talk = Talk(tls_connection()).open().client(GET, by=late)
    assert written(path, talk).column("frame.interface_name", "http") == ["late[900]"]


def stepping(back_ns):
    """A wall clock that goes back 3 ms into the session."""
    first = Anchor(boottime_ns=START_NS, monotonic_ns=0, realtime_ns=100 * SECOND)
    second = Anchor(
        boottime_ns=START_NS + 3 * MS, monotonic_ns=0, realtime_ns=100 * SECOND + 3 * MS - back_ns
    )
    return Clock([first, second])


def test_a_clock_that_is_slewed_back_keeps_the_order_of_packets(path):
    talk = Talk(tls_connection()).open().client(GET).server(OK).client(GET).server(OK).close()
    shark = written(path, talk, at=stepping(MS // 2))
    times = [float(t) for t in shark.column("frame.time_epoch")]
    assert times == sorted(times)


def test_a_clock_that_was_set_back_is_shown_as_it_was(path):
    talk = Talk(tls_connection()).open().client(GET).server(OK).close()
    shark = written(path, talk, at=stepping(60 * SECOND))
    times = [float(t) for t in shark.column("frame.time_epoch")]
    assert times[-1] < 50


def test_many_segments_need_no_more_memory_than_few():
    export = EXPORTS["pcapng"].open(Path("/dev/null"), clock(), ExportOptions())
    subject = tls_connection()
    export.begin(tables(subject))
    export.traffic(Opened(connection=subject, time_ns=START_NS))

    def say(first, last):
        for n in range(first, last):
            export.traffic(
                Segment(
                    connection=subject,
                    direction=Direction(n & 1),
                    offset=n // 2 * 64,
                    data=b"x" * 64,
                    time_ns=START_NS + n,
                    process=subject.owner,
                    record=n,
                )
            )
            if n % 7 == 0:
                gap = Gap(
                    connection=subject, direction=Direction(n & 1), offset=n // 2 * 64 + 64,
                    length=None, reason=ReasonCode.LOST_SAMPLES, time_ns=START_NS + n,
                )  # fmt: skip
                export.traffic(gap)

    tracemalloc.start()
    say(0, 10_000)
    before, _ = tracemalloc.get_traced_memory()
    say(10_000, 60_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    export.traffic(Closed(connection=subject, time_ns=START_NS + SECOND))
    export.finish()
    assert after - before < 100_000
