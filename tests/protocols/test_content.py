"""Content codings: taken off in order and in pieces, up to a limit or to where they break."""

import gzip
import subprocess
import sys
import tracemalloc
import zlib

import brotli
import pytest
import zstandard

from qtapture.protocols.body import StoredBody
from qtapture.protocols.content import Decoding, codings_of, decode

PLAIN = b"".join(b"%d green bottles\n" % n for n in range(20_000))


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def zstd(data):
    return zstandard.ZstdCompressor().compress(data)


def zipped(data):
    return gzip.compress(data, mtime=0)


CODERS = {
    "gzip": zipped,
    "x-gzip": zipped,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd,
    "identity": bytes,
}


def body(encoded, *codings, piece=16384):
    stored = StoredBody()
    for at in range(0, len(encoded), piece):
        stored.append(encoded[at : at + piece])
    stored.coded([coding.encode() for coding in codings])
    return stored


def decoded(stored):
    return b"".join(stored.iter_decoded())


def encoded(stored):
    return b"".join(stored.iter_encoded())


@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.parametrize("piece", [1, 100, 1 << 20])
def test_each_coding_is_taken_off(coding, piece):
    plain = PLAIN[:5000] if piece == 1 else PLAIN
    stored = body(CODERS[coding](plain), coding, piece=piece)
    assert decoded(stored) == plain
    assert stored.decoded_size == len(plain)
    assert stored.undecodable is None
    assert not stored.decode_limited
    assert encoded(stored) == CODERS[coding](plain)


def test_deflate_without_its_envelope_is_taken_off():
    assert decoded(body(raw_deflate(PLAIN), "deflate")) == PLAIN


def test_stacked_codings_are_taken_off_from_the_outside():
    stored = body(brotli.compress(zipped(zstd(PLAIN))), "zstd, gzip", "BR")
    assert stored.codings == ("br", "gzip", "zstd")
    assert decoded(stored) == PLAIN


def test_names_are_read_as_they_are_meant():
    assert codings_of([b" X-GZip ,, identity", b"Br"]) == ("br", "gzip")
    assert codings_of([]) == ()


def test_gzip_of_several_members_is_one_body():
    assert decoded(body(zipped(b"one ") + zipped(b"two"), "gzip")) == b"one two"
    assert decoded(body(zstd(b"one ") + zstd(b"two"), "zstd")) == b"one two"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("behind", [b"\0" * 9, b"garbage behind the end"])
def test_what_is_behind_the_end_does_not_spoil_what_is_before_it(coding, behind):
    stored = body(CODERS[coding](PLAIN) + behind, coding)
    assert decoded(stored) == PLAIN
    assert stored.undecodable is None


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_every_truncation_decodes_what_came(coding):
    plain = PLAIN[:3000]
    whole = CODERS[coding](plain)
    for length in range(1, len(whole)):
        stored = body(whole[:length], coding)
        assert stored.decoded_size == len(decoded(stored)) > 0
        if stored.undecodable:
            assert "cut before anything" in stored.undecodable
            assert decoded(stored) == whole[:length]
        else:
            assert plain.startswith(decoded(stored))
    half = body(CODERS[coding](PLAIN)[:-20], coding)
    assert coding == "zstd" or half.decoded_size > len(PLAIN) // 2


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_damage_hides_nothing_that_is_before_it(coding):
    whole = bytearray(CODERS[coding](PLAIN))
    whole[-2] ^= 0xFF  # in the checksum
    assert decoded(body(bytes(whole), coding)) == PLAIN


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "compress", "rot13"])
def test_what_cannot_be_decoded_is_shown_encoded_with_the_reason(coding):
    stored = body(b"\xffplain text, in truth", coding)
    assert stored.undecodable
    assert stored.codings == ()
    assert decoded(stored) == b"\xffplain text, in truth"
    assert stored.decoded_size == stored.encoded_size == 21


def test_too_many_codings_are_not_followed():
    stored = body(b"x", ", ".join(["gzip"] * 400))
    assert stored.undecodable == "too many codings"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_nothing_that_was_coded_is_told_from_what_was_cut(coding):
    whole = CODERS[coding](b"")
    stored = body(whole, coding)
    assert (stored.undecodable, stored.decoded_size, stored.codings) == (None, 0, (coding,))
    if len(whole) > 1:
        assert body(whole[:1], coding).undecodable


def test_an_empty_body_is_not_undecodable():
    stored = body(b"", "gzip")
    assert (stored.undecodable, stored.decoded_size, decoded(stored)) == (None, 0, b"")


def bomb(coding, size):
    """A body of zeros, made in pieces."""
    zeros = bytes(1 << 20)
    if coding == "zstd":
        compressor = zstandard.ZstdCompressor().compressobj()
    elif coding == "br":
        compressor = brotli.Compressor(quality=1)
    else:
        compressor = zlib.compressobj(wbits=31)
    add = getattr(compressor, "process", None) or compressor.compress
    finish = getattr(compressor, "finish", None) or compressor.flush
    return b"".join([*(add(zeros) for _ in range(size >> 20)), finish()])


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_bombs_stop_at_their_ratio(coding):
    packed = bomb(coding, 64 << 20)
    if coding == "gzip":
        packed = zipped(packed)  # once is within what deflate does; twice is a bomb
    stored = body(packed, *(["gzip", "gzip"] if coding == "gzip" else [coding]))
    assert stored.decode_limited
    assert stored.undecodable is None
    assert stored.decoded_size == max(1 << 20, 1000 * len(packed))
    assert len(decoded(stored)) == stored.decoded_size
    assert encoded(stored) == packed


def runs_of_zstd(size):
    """A frame as no compressor makes it: 4 bytes for each 128 KiB (RFC 8878 3.1.1.2.2)."""
    block_size, run_length = 128 << 10, 1
    block = (block_size << 3 | run_length << 1).to_bytes(3, "little") + b"x"
    return b"\x28\xb5\x2f\xfd" + b"\x00\x68" + block * (size // block_size)


def test_a_mebibyte_of_zstd_that_stands_for_gibibytes_takes_little_memory():
    frame = runs_of_zstd(32 << 30)
    assert len(frame) < 2 << 20
    stored = body(frame, "zstd")
    tracemalloc.start()
    assert sum(map(len, stored.iter_decoded())) == 256 << 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    assert stored.decode_limited


def test_what_swells_between_two_codings_stops_too():
    # To the inmost coding all of it is padding: nothing of it ever comes out.
    swollen = zipped(zipped(zipped(b"") + bytes(64 << 20)))
    stored = body(swollen, "gzip", "gzip", "gzip")
    assert stored.decode_limited
    assert decoded(stored) == b""


def test_honest_bodies_of_less_than_a_mebibyte_are_never_limited():
    stored = body(zstd(bytes(1 << 20)), "zstd")
    assert not stored.decode_limited
    assert stored.decoded_size == 1 << 20


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_decoding_costs_no_memory_for_what_it_gives(coding):
    packed = bomb(coding, 128 << 20)
    given = 0
    tracemalloc.start()
    for piece in decode((coding,), [packed], len(packed), Decoding()):
        assert len(piece) <= 1 << 17
        given += len(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert given >= 1 << 20
    assert peak < 20 << 20


def test_decoders_are_loaded_where_a_body_needs_them_only():
    code = (
        "import sys, qtapture.protocols.conversation as c\n"
        "assert not {'brotli', 'zstandard'} & set(sys.modules), 'loaded'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
