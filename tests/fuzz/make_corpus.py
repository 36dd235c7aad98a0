"""Writes the seeds of the fuzzer anew, out of fixtures and builders.

usage: PYTHONPATH=tests .venv/bin/python tests/fuzz/make_corpus.py [FOLDER]

Inputs that once failed stand beside them as NAME/found-*, and are left alone.
"""

import re
import ssl
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from builders.assembly import EXTENDED, INNER, PLAIN, assembled
from builders.conversations import CONVERSATIONS
from builders.samples import Host
from builders.sessions import chunk_spans
from fuzz import http1

from qtapture.session import open_session
from qtapture.session.chunk import maybe_decompress
from qtapture.session.frames import take_chunk
from qtapture.source import Slice

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
Seeds = Iterator[tuple[str, bytes]]
# A page of 4 KiB between its parts would be most of a library this small.
SMALL = ("-s", "-Wl,-z,max-page-size=64", "-Wl,-z,noseparate-code", "-Wl,--build-id=0x0102")


def main(folder: Path) -> None:
    """Write all of them."""
    for name, seeds in MAKERS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed, data in seeds():
            (folder / name / re.sub(r"[^\w.]+", "-", seed)).write_bytes(data)


def session_files() -> Seeds:
    for path in sorted(FIXTURES.glob("*.qtap")):
        yield path.stem, path.read_bytes()


def session_contents() -> Seeds:
    for name in ("session-v1-minimal", "real-curl-nginx"):
        raw = (FIXTURES / f"{name}.qtap").read_bytes()
        for number, (start, end) in enumerate(chunk_spans(raw)):
            frame = take_chunk(raw[start : start + 152])
            content = maybe_decompress(raw[start + 152 : end], frame.content_len)
            kind = {4: 1, 5: 2}.get(frame.kind, 0)
            yield f"{name}-{number}", bytes([kind]) + content[:8_000]


def samples() -> Seeds:
    real = open_session(FIXTURES / "real-curl-nginx.qtap")
    rings = [bytes(r.data) for r in real.iter_records() if isinstance(r, Slice)]
    for number, data in enumerate(rings[:8]):
        yield f"real-{number}", data[:8_000]
    host = Host()
    curl = host.run("curl", "https://example.com/")
    for end in ("93.184.216.34:443", "[::1]:80"):
        socket = curl.connect("10.0.0.2:40000" if "." in end else "[::1]:40000", end)
        session = curl.ssl()
        session.join(socket)
        session.write(b"GET / HTTP/1.1\r\n\r\n")
        socket.send(b"clear")
        session.free()
        socket.close()
    curl.fork().exit(3)
    made = [r.data for r in host.source(Random(7)).iter_records() if isinstance(r, Slice)]
    yield "built", b"".join(map(bytes, made))


def conversations() -> Seeds:
    for name, steps in CONVERSATIONS.items():
        data = http1.written(steps)
        if len(data) < 2_000:
            yield name, data


def libraries() -> Seeds:
    usual = {"SSL_read": PLAIN, "SSL_read_ex": EXTENDED, "inner": INNER}
    through = {
        "SSL_read": PLAIN.replace("lea 8(%rsp), %rcx", "lea 8(%rsp), %r8\n xor %ecx, %ecx"),
        "SSL_read_ex2": EXTENDED,
        "SSL_read_ex": "mov %rcx, %r8\n xor %ecx, %ecx\n jmp SSL_read_ex2@PLT",
        "inner": INNER,
    }
    for name, functions, style in (
        ("usual", usual, "gnu"),
        ("through", through, "both"),
        ("expensive", usual | {"inner": "sub $8, %rsp\n add $8, %rsp\n ret"}, "sysv"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = assembled(Path(folder), functions, *SMALL, f"-Wl,--hash-style={style}")
            yield name, path.read_bytes()


def hellos() -> Seeds:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.maximum_version = version
        client.set_alpn_protocols(["h2", "http/1.1"])
        out = ssl.MemoryBIO()
        try:
            client.wrap_bio(ssl.MemoryBIO(), out, server_hostname="example.com").do_handshake()
        except ssl.SSLWantReadError:
            yield f"client-{version.name}", b"\0" + out.read()
    # RFC 8446 4.1.3: version, random, session, cipher, compression, extensions.
    for name, extensions in (("1.2", "00100005000302 6832"), ("1.3", "002b00020304")):
        more = bytes.fromhex(extensions)
        body = b"\3\3" + bytes(32) + b"\0\x13\x01\0" + len(more).to_bytes(2, "big") + more
        message = b"\2" + len(body).to_bytes(3, "big") + body
        yield f"server-{name}", b"\1\x16\3\3" + len(message).to_bytes(2, "big") + message


MAKERS = {
    "session_file": session_files,
    "session_sealed": session_files,
    "session_content": session_contents,
    "samples": samples,
    "http1": conversations,
    "elf": libraries,
    "hello": hellos,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "corpus")
