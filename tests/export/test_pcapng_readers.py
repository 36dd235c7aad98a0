"""Readers other than Wireshark: libpcap, scapy, dpkt and python-pcapng open the same file."""

import ctypes
import ctypes.util
import io

import dpkt
import pcapng
import pytest
from builders.traffic import (
    EPOCH_NS,
    MS,
    Talk,
    clock,
    feed,
    merge,
    process,
    raw,
    request,
    response,
    tables,
    tls_connection,
)

from qtapture.events import Direction
from qtapture.export import EXPORTS, ExportOptions

GET = raw(request("GET", "/index.html"))
OK = raw(response(body=b"hello"))
# python-pcapng's own definition of if_tsresol offends its own check.
ITS_OWN = pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")
FRAMES = 16  # two connections: handshake 3, payload 2, end 3


@pytest.fixture
def path(tmp_path):
    out = tmp_path / "out.pcapng"
    one = Talk(tls_connection()).open().client(GET).lost(5).server(OK).close()
    two = Talk(
        tls_connection(2, client="[2001:db8::1]:9", server="[2001:db8::2]:443",
                       owner=process(9, "nine"))
    )  # fmt: skip
    two.open().client(GET).server(OK).close()
    feed(
        EXPORTS["pcapng"].open(out, clock(), ExportOptions()),
        tables(one.connection, two.connection),
        merge(one, two),
    )
    return out


class _PacketHeader(ctypes.Structure):
    _fields_ = (
        ("seconds", ctypes.c_long),
        ("fraction", ctypes.c_long),
        ("captured", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
    )


def test_libpcap_reads_every_packet_with_its_nanoseconds(path):
    name = ctypes.util.find_library("pcap")
    assert name, "libpcap is missing: the project's scripts install it"
    libpcap = ctypes.CDLL(name)
    open_offline = libpcap.pcap_open_offline_with_tstamp_precision
    open_offline.restype = ctypes.c_void_p
    libpcap.pcap_next_ex.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.POINTER(_PacketHeader)),
        ctypes.POINTER(ctypes.c_void_p),
    ]
    message = ctypes.create_string_buffer(256)
    nanoseconds = 1
    handle = open_offline(str(path).encode(), nanoseconds, message)
    assert handle, message.value
    header = ctypes.POINTER(_PacketHeader)()
    data = ctypes.c_void_p()
    times = []
    while libpcap.pcap_next_ex(handle, ctypes.byref(header), ctypes.byref(data)) == 1:
        times.append(header.contents.seconds * 10**9 + header.contents.fraction)
        assert header.contents.captured == header.contents.length
    libpcap.pcap_close(ctypes.c_void_p(handle))
    assert len(times) == FRAMES
    assert times[0] == EPOCH_NS + MS


def test_scapy_reads_every_packet_and_the_first_comment(path):
    from scapy.layers.inet import TCP
    from scapy.utils import PcapNgReader

    with PcapNgReader(str(path)) as reader:
        packets = list(reader)
    assert len(packets) == FRAMES
    assert all(TCP in each for each in packets)
    assert b"connection 1: curl[4242]" in b"".join(packets[0].comments)


def test_dpkt_reads_the_payload_back(path):
    said = {Direction.C2S: b"", Direction.S2C: b""}
    with path.open("rb") as file:
        for _, frame in dpkt.pcapng.Reader(file):
            ip = dpkt.ethernet.Ethernet(frame).data
            to_server = ip.data.dport == 80
            said[Direction.C2S if to_server else Direction.S2C] += ip.data.data
    assert said == {Direction.C2S: GET * 2, Direction.S2C: OK * 2}


def blocks_of(path):
    return list(pcapng.FileScanner(io.BytesIO(path.read_bytes())))


@ITS_OWN
def test_statistics_close_the_file_and_count_packets_and_losses(path):
    blocks = blocks_of(path)
    statistics = [b for b in blocks if type(b).__name__ == "InterfaceStatistics"]
    assert blocks[-2:] == statistics
    received = [int(b.options["isb_ifrecv"]) for b in statistics]
    assert received == [FRAMES // 2, FRAMES // 2]
    assert int(statistics[0].options["isb_osdrop"]) == 5
    assert "isb_osdrop" not in statistics[1].options


@ITS_OWN
def test_packets_carry_pid_and_thread_in_option_8(path):
    packets = [b for b in blocks_of(path) if type(b).__name__ == "EnhancedPacket"]
    # The library has no name for 8, which is newer than it.
    owners = [p.options[8] for p in packets if 8 in p.options]
    pid = (4242).to_bytes(4, "little")
    assert len(owners) == 4
    assert owners[0] == pid + pid
