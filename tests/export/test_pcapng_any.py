"""Whatever is said and lost, the file holds each observed byte at its place, and nothing else."""

import io

import dpkt
from builders.traffic import MS, START_NS, Talk, clock, connection, merge, tables, tls_connection
from hypothesis import given, settings
from hypothesis import strategies as st

from qtapture.events import Direction, Segment
from qtapture.export.pcapng import PcapngExport

ADDRESSES = ["10.0.0.1:443", "10.0.0.1:80", "[2001:db8::1]:443", "10.0.0.1:5432", None]

said = st.tuples(st.sampled_from(Direction), st.binary(max_size=40))
big = st.tuples(st.sampled_from(Direction), st.just(b"0123456789" * 4000))
lost = st.tuples(st.sampled_from(Direction), st.integers(1, 1 << 20))
unknown = st.tuples(st.sampled_from(Direction), st.none())
talks = st.lists(
    st.tuples(
        st.sampled_from(ADDRESSES),
        st.booleans(),
        st.booleans(),
        st.lists(said | said | big | lost | unknown, max_size=12),
    ),
    max_size=4,
)


class _Memory:
    """An output that stays in memory."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()

    def commit(self) -> None:
        self.stream.seek(0)


def build(description):
    built = []
    for number, (server, older, encrypted, steps) in enumerate(description, 1):
        make = tls_connection if encrypted else connection
        subject = make(number, server=server, older=older)
        talk = Talk(subject, plaintext=encrypted, start_ns=START_NS + number, step_ns=MS)
        if not older:
            talk.open()
        for direction, what in steps:
            if isinstance(what, bytes):
                talk.say(direction, what)
            else:
                talk.gap(direction, what)
        built.append(talk.close())
    return built


def frames(data):
    """(4-tuple towards the receiver, sequence number, payload) of every packet."""
    for _, frame in dpkt.pcapng.Reader(data):
        ip = dpkt.ethernet.Ethernet(frame).data
        tcp = ip.data
        assert isinstance(tcp, dpkt.tcp.TCP)
        yield (ip.src, tcp.sport, ip.dst, tcp.dport), tcp.seq, tcp.data


def export(built):
    memory = _Memory()
    writer = PcapngExport(memory, clock())
    writer.begin(tables(*(talk.connection for talk in built)))
    for item in merge(*built):
        writer.traffic(item)
    writer.finish()
    return memory.stream


@settings(max_examples=150, deadline=None)
@given(talks)
def test_every_observed_byte_is_there_once_and_in_order(description):
    built = build(description)
    expected = [item.data for item in merge(*built) if isinstance(item, Segment)]
    shown = [payload for _, _, payload in frames(export(built)) if payload]
    assert b"".join(shown) == b"".join(expected)


@settings(max_examples=150, deadline=None)
@given(talks)
def test_sequence_numbers_of_one_connection_never_overlap(description):
    ends = {}
    for where, seq, payload in frames(export(build(description))):
        if not payload:
            continue
        if where in ends:
            ahead = (seq - ends[where]) % 2**32
            assert ahead < 2**31, "a step backwards"
        ends[where] = (seq + len(payload)) % 2**32


@settings(max_examples=50, deadline=None)
@given(talks)
def test_the_same_traffic_gives_the_same_bytes(description):
    assert export(build(description)).getvalue() == export(build(description)).getvalue()
