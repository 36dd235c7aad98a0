"""What TLS hellos say in the clear: server name, ALPN, version, cipher (RFC 8446 4.1, RFC 5246).

Rule 1: only the first record of each direction is read, and only while it is whole from offset 0.
Rule 2: anything unexpected ends the reading; what was read until then stands.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["HelloFacts", "HelloReader"]

# A post-quantum ClientHello is some 1,800 bytes; a TLS record is at most 2^14 + 256.
_MOST_BYTES = 16_645
_RECORD_HEAD = 5
_MESSAGE_HEAD = 4
_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_HELLO = 2
_RANDOM = 32
_SERVER_NAME = 0
_ALPN = 16
_SUPPORTED_VERSIONS = 43
_VERSIONS = {0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
# RFC 8446 4.1.3: this random makes a ServerHello a HelloRetryRequest.
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
# The suites of TLS 1.3 and the common ones of 1.2, by the IANA registry's names.
_CIPHERS = {
    0x1301: "TLS_AES_128_GCM_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0x009C: "TLS_RSA_WITH_AES_128_GCM_SHA256",
    0x009D: "TLS_RSA_WITH_AES_256_GCM_SHA384",
    0xC02B: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    0xC02C: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    0xC02F: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    0xC030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    0xCCA8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    0xCCA9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}


@dataclass(slots=True)
class HelloFacts:
    """What was read; None where it was not said, or not seen."""

    server_name: str | None = None
    alpn: str | None = None  # what the server chose; only TLS 1.2 and older say it in the clear
    version: str | None = None
    cipher: str | None = None


@dataclass(slots=True)
class HelloReader:
    """Collects the first record of each direction until it can be read, then drops it."""

    facts: HelloFacts = field(default_factory=HelloFacts)
    _buffers: list[bytearray | None] = field(default_factory=lambda: [bytearray(), bytearray()])

    def feed(self, way: int, offset: int, data: bytes) -> None:
        """Take bytes of a direction; what does not continue it ends the reading."""
        buffer = self._buffers[way]
        if buffer is None:
            return
        if offset != len(buffer):
            self._buffers[way] = None
            return
        buffer += data[: _MOST_BYTES - len(buffer)]
        if len(buffer) < _RECORD_HEAD:
            return
        length = _RECORD_HEAD + int.from_bytes(buffer[3:5], "big")
        if len(buffer) >= min(length, _MOST_BYTES):
            self._buffers[way] = None
            _read_record(bytes(buffer[:length]), self.facts)

    @property
    def done(self) -> bool:
        """Whether nothing more is wanted."""
        return self._buffers == [None, None]


class _Cut(Exception):  # noqa: N818 - a signal between these functions alone
    """The bytes end before what they announce."""


class _Bytes:
    """A position in bytes that never passes their end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise _Cut
        self._at += count
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A vector whose length is in ``size`` bytes."""
        return self.take(self.number(size))

    @property
    def left(self) -> int:
        return len(self._data) - self._at


def _read_record(record: bytes, facts: HelloFacts) -> None:
    if record[0] != _HANDSHAKE or len(record) < _RECORD_HEAD + _MESSAGE_HEAD:
        return
    body = _Bytes(record[_RECORD_HEAD + _MESSAGE_HEAD :])
    try:
        if record[_RECORD_HEAD] == _CLIENT_HELLO:
            _client_hello(body, facts)
        elif record[_RECORD_HEAD] == _SERVER_HELLO:
            _server_hello(body, facts)
    except _Cut:
        return


def _client_hello(body: _Bytes, facts: HelloFacts) -> None:
    body.take(2 + _RANDOM)
    body.vector(1)  # session id
    body.vector(2)  # cipher suites
    body.vector(1)  # compression methods
    for kind, data in _extensions(body):
        if kind == _SERVER_NAME:
            names = _Bytes(data.vector(2))
            if names.number(1) == 0:  # host_name
                facts.server_name = _printable(names.vector(2))


def _server_hello(body: _Bytes, facts: HelloFacts) -> None:
    version = body.number(2)
    if body.take(_RANDOM) == _RETRY:
        return
    body.vector(1)
    cipher = body.number(2)
    body.take(1)
    facts.version = _VERSIONS.get(version)
    facts.cipher = _CIPHERS.get(cipher, f"0x{cipher:04x}")
    for kind, data in _extensions(body):
        if kind == _SUPPORTED_VERSIONS:
            facts.version = _VERSIONS.get(data.number(2))
        elif kind == _ALPN:
            facts.alpn = _printable(_Bytes(data.vector(2)).vector(1))


def _extensions(body: _Bytes) -> Iterator[tuple[int, _Bytes]]:
    if not body.left:
        return
    inner = _Bytes(body.vector(2))
    while inner.left:
        kind = inner.number(2)
        yield kind, _Bytes(inner.vector(2))


def _printable(raw: bytes) -> str:
    """Names are ASCII (RFC 6066 3); anything else is shown as an escape."""
    return raw.decode("ascii", "backslashreplace")
