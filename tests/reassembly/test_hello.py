"""Hellos of a real TLS library (Python's), read by us."""

import ssl
import subprocess

import pytest

from qtapture.reassembly.hello import HelloReader
from qtapture.reassembly.rows import RECEIVED, SENT


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=x", "-days", "2"),
            *("-keyout", str(folder / "key"), "-out", str(folder / "crt")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def hellos(certificate, version, name):
    """The first flights of both sides of a handshake in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    client.maximum_version = version
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate / "crt", certificate / "key")
    for context in (client, server):
        context.set_alpn_protocols(["h2", "http/1.1"])
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    one = client.wrap_bio(pipes[0], pipes[1], server_hostname=name)
    two = server.wrap_bio(pipes[2], pipes[3], server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        one.do_handshake()
    sent = pipes[1].read()
    pipes[2].write(sent)
    with pytest.raises(ssl.SSLWantReadError):
        two.do_handshake()
    return sent, pipes[3].read(), one, two


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (ssl.TLSVersion.TLSv1_2, ("TLS 1.2", "h2")),
        (ssl.TLSVersion.TLSv1_3, ("TLS 1.3", None)),  # ALPN is encrypted since 1.3
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_both_hellos_are_read_however_they_are_cut(certificate, version, said, step):
    sent, received, *_ = hellos(certificate, version, "example.org")
    reader = HelloReader()
    for way, data in ((SENT, sent), (RECEIVED, received)):
        for at in range(0, len(data), step):
            reader.feed(way, at, data[at : at + step])
    assert reader.done
    facts = reader.facts
    assert facts.server_name == "example.org"
    assert (facts.version, facts.alpn) == said
    assert facts.cipher.startswith("TLS_")


def test_a_hello_with_a_hole_is_not_read(certificate):
    sent, *_ = hellos(certificate, ssl.TLSVersion.TLSv1_3, "example.org")
    reader = HelloReader()
    reader.feed(SENT, 0, sent[:50])
    reader.feed(SENT, 60, sent[60:])
    assert reader.facts.server_name is None


def test_any_cut_or_change_of_a_hello_is_survived(certificate):
    sent, *_ = hellos(certificate, ssl.TLSVersion.TLSv1_3, "example.org")
    for at in range(len(sent)):
        broken = bytearray(sent)
        broken[at] ^= 0xFF
        HelloReader().feed(SENT, 0, bytes(broken))
        HelloReader().feed(SENT, 0, sent[:at])
