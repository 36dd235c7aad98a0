"""What was added first is read first, whatever it is, and however the stream takes it."""

import io
import os
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from builders.sessions import HEADER, MS, minimal, opened, perf_record, told
from hypothesis import given
from hypothesis import strategies as st

from qtapture.session import SessionWriter, open_session, verify_session
from qtapture.session.frames import MOST_CONTENT
from qtapture.session.writer import MOST_EVENT
from qtapture.source import EventRecord, EventType, Slice


def test_records_come_back_in_the_order_of_writing(tmp_path: Path) -> None:
    reader = opened(tmp_path, minimal())
    rows = [f"sample {n}" for n in range(3)]
    assert told(reader) == [word for row in rows for word in (row, "event 1")]
    assert reader.header == HEADER
    assert reader.closed
    assert reader.findings == ()
    assert reader.manifest["reason"] == "test"


def test_a_session_can_be_read_again_and_again(tmp_path: Path) -> None:
    reader = opened(tmp_path, minimal())
    assert told(reader) == told(reader)


def test_a_slice_larger_than_a_chunk_is_cut_between_records_alone(tmp_path: Path) -> None:
    records = [perf_record(os.urandom(16_000)) for _ in range(100)]
    out = io.BytesIO()
    writer = SessionWriter(out, HEADER, now_ns=0)
    writer.add_slice(1, 3, b"".join(records), MS)
    writer.close({}, MS)
    slices = [r for r in opened(tmp_path, out.getvalue()).iter_records() if isinstance(r, Slice)]
    assert b"".join(bytes(s.data) for s in slices) == b"".join(records)
    assert {(s.ring, s.cpu) for s in slices} == {(1, 3)}
    for piece in slices:
        assert len(piece.data) <= MOST_CONTENT
        assert len(piece.data) % len(records[0]) == 0


def test_slices_of_128_cpus_keep_their_cpu(tmp_path: Path) -> None:
    out = io.BytesIO()
    writer = SessionWriter(out, HEADER, now_ns=0)
    for cpu in range(128):
        writer.add_slice(cpu % 3, cpu, perf_record(b"%d" % cpu), MS)
    writer.close({}, MS)
    slices = [r for r in opened(tmp_path, out.getvalue()).iter_records() if isinstance(r, Slice)]
    assert [(s.ring, s.cpu) for s in slices] == [(cpu % 3, cpu) for cpu in range(128)]


def test_a_chunk_is_sealed_when_its_first_record_is_a_quarter_of_a_second_old() -> None:
    out = io.BytesIO()
    writer = SessionWriter(out, HEADER, now_ns=0)
    before = writer.size
    writer.add_slice(0, 0, perf_record(b"x"), 0)
    writer.tick(249 * MS)
    assert writer.size == before
    writer.tick(250 * MS)
    assert writer.size > before


def test_an_event_that_no_chunk_could_hold_is_refused() -> None:
    writer = SessionWriter(io.BytesIO(), HEADER, now_ns=0)
    with pytest.raises(ValueError, match="a body of"):
        writer.add_event(EventType.NOTE, bytes(MOST_EVENT + 1), 0)


def test_the_head_of_the_chain_is_what_the_reader_computes(tmp_path: Path) -> None:
    out = io.BytesIO()
    writer = SessionWriter(out, HEADER, now_ns=0)
    writer.add_event(EventType.NOTE, b"{}", 0)
    head = writer.close({}, 0)
    assert opened(tmp_path, out.getvalue()).chain_head == head == writer.chain_head
    assert writer.size == len(out.getvalue())


class Reluctant(io.RawIOBase):
    """A raw stream that takes at most 100 bytes at a time."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.taken += bytes(data[:100])
        return min(len(data), 100)


def test_a_stream_that_takes_little_at_a_time_gets_everything(tmp_path: Path) -> None:
    stream = Reluctant()
    writer = SessionWriter(stream, HEADER, now_ns=0)
    writer.add_slice(0, 0, perf_record(os.urandom(5000)), 0)
    writer.close({}, 0)
    assert opened(tmp_path, bytes(stream.taken)).findings == ()


def test_a_pipe_is_as_good_as_a_file(tmp_path: Path) -> None:
    out, into = os.pipe()
    got: list[bytes] = []

    def drain() -> None:
        with os.fdopen(out, "rb") as stream:
            got.append(stream.read())

    reader = threading.Thread(target=drain)
    reader.start()
    with os.fdopen(into, "wb", buffering=0) as stream:
        writer = SessionWriter(stream, HEADER, now_ns=0)
        for number in range(50):
            writer.add_slice(0, 0, perf_record(os.urandom(16_000)), number)
        writer.close({}, 100)
    reader.join()
    path = tmp_path / "piped.qtap"
    path.write_bytes(got[0])
    assert verify_session(path).state == "intact"


class Full(io.RawIOBase):
    """A disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        took = bytes(data[: self.room - len(self.taken)])
        if not took:
            raise OSError(28, "No space left on device")
        self.taken += took
        return len(took)


def fill(writer: SessionWriter) -> None:
    """Write more than there is room for."""
    for number in range(100):
        writer.add_slice(0, 0, perf_record(os.urandom(8_000)), number)
        writer.seal(number)


def test_a_full_disk_is_told_and_what_was_written_is_readable(tmp_path: Path) -> None:
    disk = Full(40_000)
    writer = SessionWriter(disk, HEADER, now_ns=0)
    with pytest.raises(OSError, match="No space left"):
        fill(writer)
    reader = opened(tmp_path, bytes(disk.taken))
    assert not reader.closed
    assert len(told(reader)) >= 3
    assert writer.whole < writer.size == len(disk.taken)
    assert opened(tmp_path, bytes(disk.taken)[: writer.whole]).findings == ()


def test_any_zstd_reads_the_file_and_its_content_parses_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.qtap"
    path.write_bytes(minimal())
    zstd = shutil.which("zstd") or "zstd"
    subprocess.run([zstd, "-q", "-t", path], check=True)
    content = subprocess.run([zstd, "-q", "-dc", path], check=True, capture_output=True).stdout
    # salt, version, kind, sequence, parts, reserved; then the table and the parts
    at, sequences = 0, []
    while at < len(content):
        _, version, _, sequence, parts, _ = struct.unpack_from("<16sHHIII", content, at)
        table = struct.iter_unpack("<HHI", content[at + 32 : at + 32 + 8 * parts])
        at += 32 + 8 * parts + sum(length for _, _, length in table)
        assert version == 1
        sequences.append(sequence)
    assert at == len(content)
    assert sequences == list(range(len(sequences)))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 2), st.integers(0, 127), st.binary(max_size=3000)),
            st.tuples(st.just(-1), st.integers(1, 40), st.binary(max_size=3000)),
        ),
        max_size=30,
    )
)
def test_whatever_is_added_comes_back(tmp_path_factory, items) -> None:
    out = io.BytesIO()
    writer = SessionWriter(out, HEADER, now_ns=0)
    for ring, number, data in items:
        if ring < 0:
            writer.add_event(number, data, 7)
        else:
            writer.add_slice(ring, number, perf_record(data), 7)
    writer.close({}, 8)
    folder = tmp_path_factory.mktemp("any")
    found = list(opened(folder, out.getvalue()).iter_records())
    events = [(e.type, bytes(e.body)) for e in found if isinstance(e, EventRecord)]
    assert events == [(number, data) for ring, number, data in items if ring < 0]
    slices = b"".join(bytes(s.data) for s in found if isinstance(s, Slice))
    assert slices == b"".join(perf_record(data) for ring, _, data in items if ring >= 0)


def test_a_session_still_being_written_is_readable_to_its_last_whole_chunk(tmp_path: Path) -> None:
    path = tmp_path / "growing.qtap"
    with path.open("wb", buffering=0) as stream:
        writer = SessionWriter(stream, HEADER, now_ns=0)
        writer.add_slice(0, 0, perf_record(b"first"), 0)
        writer.seal(0)
        assert told(open_session(path)) == ["first"]
        writer.add_slice(0, 0, perf_record(b"second"), 0)
        writer.seal(0)
        assert told(open_session(path)) == ["first", "second"]
