"""Whatever happened to a file: what is readable is read, and every loss has a name and a place."""

import io
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from builders.sessions import HEADER, chunk_spans, minimal, opened, perf_record, told, unclosed
from hypothesis import given, settings
from hypothesis import strategies as st

from qtapture.errors import FormatError, NotASessionError, UsageError
from qtapture.session import SessionWriter, open_session, verify_session
from qtapture.session.chunk import Part, pack_content
from qtapture.session.frames import (
    MOST_CONTENT,
    ChunkFrame,
    ChunkKind,
    Hole,
    chain_of_header,
    pack_chunk,
    pack_header,
    pack_hole,
    take_chunk,
)

WHOLE = minimal()
SPANS = chunk_spans(WHOLE)
ROWS = [word for n in range(3) for word in (f"sample {n}", "event 1")]


def state_of(folder: Path, raw: bytes) -> str:
    path = folder / "state.qtap"
    path.write_bytes(raw)
    return verify_session(path).state


def test_every_truncation_is_noticed_and_read_as_far_as_it_goes(tmp_path: Path) -> None:
    first_end = SPANS[0][1]
    for end in range(len(WHOLE)):
        raw = WHOLE[:end]
        if end < first_end and not _header_is_whole(end):
            with pytest.raises(NotASessionError):
                opened(tmp_path, raw)
            continue
        reader = opened(tmp_path, raw)
        whole_chunks = sum(stop <= end for _, stop in SPANS[:3])
        assert told(reader) == ROWS[: 2 * whole_chunks], end
        assert not reader.closed
        assert state_of(tmp_path, raw) in {"unclosed", "damaged"}


def _header_is_whole(end: int) -> bool:
    return end >= SPANS[0][0]


def test_every_changed_byte_is_noticed_with_its_place(tmp_path: Path) -> None:
    for at in range(len(WHOLE)):
        raw = bytearray(WHOLE)
        raw[at] ^= 0x5A
        reader = opened(tmp_path, bytes(raw))
        assert reader.findings or not reader.closed, at
        assert state_of(tmp_path, bytes(raw)) != "intact", at
        hit = next((n for n, (start, stop) in enumerate(SPANS) if start <= at < stop), None)
        for finding in reader.findings:
            assert finding.code
            assert 0 <= finding.offset <= len(raw)
        kept = [row for row in told(reader) if not row.startswith("hole")]
        expected = [row for n in range(3) if n != hit for row in (f"sample {n}", "event 1")]
        assert kept == expected, at


def test_a_header_that_is_damaged_is_taken_from_a_checkpoint(tmp_path: Path) -> None:
    raw = bytearray(WHOLE)
    raw[20] ^= 1
    reader = opened(tmp_path, bytes(raw))
    assert reader.header == HEADER
    assert [finding.code for finding in reader.findings] == ["header_damaged"]


def test_another_header_in_its_place_is_noticed(tmp_path: Path) -> None:
    raw = pack_header({**HEADER, "host": "elsewhere"}) + WHOLE[SPANS[0][0] :]
    assert "chain_broken" in {finding.code for finding in opened(tmp_path, raw).findings}


def test_a_removed_chunk_is_a_hole_and_a_finding(tmp_path: Path) -> None:
    (start, stop) = SPANS[1]
    reader = opened(tmp_path, WHOLE[:start] + WHOLE[stop:])
    assert told(reader) == [*ROWS[:2], "hole 0-2", *ROWS[4:]]
    (finding,) = reader.findings
    assert (finding.code, finding.chunk, finding.offset) == ("chunks_missing", 2, start)


def test_swapped_chunks_are_noticed_and_both_read(tmp_path: Path) -> None:
    (a, b), (c, d) = SPANS[0], SPANS[1]
    reader = opened(tmp_path, WHOLE[:a] + WHOLE[c:d] + WHOLE[a:b] + WHOLE[d:])
    rows = [row for row in told(reader) if not row.startswith("hole")]
    assert sorted(rows) == sorted(ROWS)
    assert "chunk_out_of_order" in {finding.code for finding in reader.findings}


def test_a_repeated_chunk_is_read_once(tmp_path: Path) -> None:
    (start, stop) = SPANS[1]
    reader = opened(tmp_path, WHOLE[:stop] + WHOLE[start:stop] + WHOLE[stop:])
    assert told(reader) == ROWS
    assert [finding.code for finding in reader.findings] == ["chunk_repeated"]


def test_a_chunk_of_another_session_is_noticed(tmp_path: Path) -> None:
    (start, stop) = SPANS[1]
    other = unclosed()
    (a, b) = chunk_spans(other)[1]
    reader = opened(tmp_path, WHOLE[:start] + other[a:b] + WHOLE[stop:])
    assert "chain_broken" in {finding.code for finding in reader.findings}


def test_garbage_between_chunks_is_skipped_and_named(tmp_path: Path) -> None:
    (start, _) = SPANS[1]
    reader = opened(tmp_path, WHOLE[:start] + b"garbage" * 5000 + WHOLE[start:])
    assert [row for row in told(reader) if not row.startswith("hole")] == ROWS
    (finding,) = reader.findings
    assert (finding.code, finding.offset) == ("unreadable", start)
    assert "35000 bytes" in finding.detail


def test_bytes_behind_the_end_are_noticed(tmp_path: Path) -> None:
    reader = opened(tmp_path, WHOLE + b"more")
    assert reader.findings
    assert state_of(tmp_path, WHOLE + b"more") == "damaged"


def test_a_session_that_was_not_closed_is_said_to_be_so(tmp_path: Path) -> None:
    assert state_of(tmp_path, unclosed()) == "unclosed"
    assert state_of(tmp_path, unclosed()[:-30]) == "unclosed"


def test_a_stated_hole_makes_a_recovered_session(tmp_path: Path) -> None:
    (start, stop) = SPANS[1]
    before, after = (take_chunk(WHOLE[s : s + 152]) for s, _ in (SPANS[0], SPANS[2]))
    hole = pack_hole(
        Hole(
            last=before.sequence,
            last_chain=before.chain,
            next=after.sequence,
            next_previous=after.previous,
        )
    )
    raw = WHOLE[:start] + hole + WHOLE[stop:]
    reader = opened(tmp_path, raw)
    assert reader.findings == ()
    assert told(reader) == [*ROWS[:2], "hole 0-2", *ROWS[4:]]
    assert state_of(tmp_path, raw) == "recovered"


def chunk_of(content: bytes, stored: bytes, claimed: int | None = None) -> bytes:
    """A session of one chunk with such a payload."""
    import hashlib

    header = pack_header(HEADER)
    frame = ChunkFrame(
        kind=ChunkKind.EVENT,
        sequence=0,
        first_ns=0,
        last_ns=0,
        records=1,
        content_len=len(content) if claimed is None else claimed,
        stored_len=len(stored),
        stored_hash=hashlib.sha256(stored).digest(),
        previous=chain_of_header(header),
        chain=b"",
    )
    return header + pack_chunk(frame) + stored


def test_a_compression_bomb_is_not_inflated(tmp_path: Path) -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 30))
    raw = chunk_of(b"", bomb, claimed=MOST_CONTENT)
    tracemalloc.start()
    reader = opened(tmp_path, raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [finding.code for finding in reader.findings] == ["content_damaged"]
    assert peak < 16 << 20


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        pack_content(2, 0, [])[:-4],
        pack_content(2, 0, [Part(0, 0, b"data")])[:-2],
        pack_content(2, 0, [Part(0xFFFF, 0, b"\xff\xff\xff\xff" + bytes(12))]),
        pack_content(2, 0, [Part(0xFFFF, 0, b"\x01\0\0\0" + bytes(12))]),
        pack_content(2, 0, [Part(0xFFFF, 0, b"\x10")]),
    ],
)
def test_lying_lengths_inside_a_content_end_it_and_are_named(
    tmp_path: Path, content: bytes
) -> None:
    raw = chunk_of(content, zstandard.ZstdCompressor(write_checksum=True).compress(content))
    reader = opened(tmp_path, raw)
    if content:
        assert [finding.code for finding in reader.findings] == ["content_damaged"]
    list(reader.iter_records())


def test_an_unknown_kind_of_chunk_is_stepped_over(tmp_path: Path) -> None:
    header = pack_header(HEADER)
    stored = b"who knows"
    import hashlib

    frame = ChunkFrame(
        kind=4242,
        sequence=0,
        first_ns=0,
        last_ns=0,
        records=0,
        content_len=0,
        stored_len=len(stored),
        stored_hash=hashlib.sha256(stored).digest(),
        previous=chain_of_header(header),
        chain=b"",
    )
    reader = opened(tmp_path, header + pack_chunk(frame) + stored)
    assert told(reader) == []
    assert reader.findings == ()


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_no_session_and_no_accident(tmp_path_factory, raw: bytes) -> None:
    with pytest.raises(NotASessionError):
        opened(tmp_path_factory.mktemp("any"), raw)


@settings(max_examples=200)
@given(st.data())
def test_any_mutation_is_survived(tmp_path_factory, data) -> None:
    raw = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        end = min(at + data.draw(st.integers(0, 40)), len(raw))
        raw[at:end] = data.draw(st.binary(max_size=40))
        if not raw:
            break
    folder = tmp_path_factory.mktemp("mutated")
    try:
        reader = opened(folder, bytes(raw))
        told(reader)
    except FormatError:
        return
    if bytes(raw) != WHOLE:
        assert reader.findings or not reader.closed


def test_what_cannot_be_opened_is_a_matter_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        open_session(tmp_path / "none")
    with pytest.raises(UsageError):
        open_session(tmp_path)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    out = io.BytesIO()
    writer = SessionWriter(out, HEADER, now_ns=0)
    for number in range(400):
        writer.add_slice(0, 0, perf_record(bytes([number % 251]) * 60_000), number)
    writer.close({}, 0)
    path = tmp_path / "large.qtap"
    path.write_bytes(out.getvalue())
    tracemalloc.start()
    reader = open_session(path)
    for _ in reader.iter_records():
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
