"""The writer's thread: everything in order, a bounded queue, an error that is kept."""

import io
import threading
from pathlib import Path

import pytest
from builders.sessions import HEADER, opened, perf_record, told

from qtapture.record.writing import Writing
from qtapture.session import SessionWriter, verify_session
from qtapture.source import EventType


def writing(stream: io.RawIOBase | io.BytesIO) -> Writing:
    return Writing(SessionWriter(stream, HEADER, now_ns=0))


class Gate(io.RawIOBase):
    """A disk that takes nothing until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.open.wait()
        self.taken += bytes(data)
        return len(data)


class Broken(io.RawIOBase):
    """A disk that fails after the header."""

    def __init__(self) -> None:
        self.writes = 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.writes += 1
        if self.writes > 1:
            raise OSError(5, "Input/output error")
        return len(data)


def test_what_is_added_is_written_in_order_and_closed(tmp_path: Path) -> None:
    stream = io.BytesIO()
    made = writing(stream)
    made.slice(0, 0, perf_record(b"one"))
    made.event(EventType.NOTE, b"{}", 5)
    made.slice(0, 1, perf_record(b"two"))
    head = made.close({"reason": "test"})
    reader = opened(tmp_path, stream.getvalue())
    assert told(reader) == ["one", "event 19", "two"]
    assert reader.chain_head == head
    assert verify_session(tmp_path / "session.qtap").state == "intact"


def test_settling_puts_everything_into_the_file(tmp_path: Path) -> None:
    stream = Gate()
    made = writing(stream)
    made.slice(0, 0, perf_record(b"one"))
    made.settle()
    assert told(opened(tmp_path, bytes(stream.taken))) == ["one"]
    assert len(stream.taken) == made.size == made.whole
    made.abandon()


def test_whoever_fills_the_queue_waits_until_there_is_room() -> None:
    stream = Gate()
    made = writing(stream)
    stream.open.clear()
    record = perf_record(bytes(60_000))
    filled = threading.Event()

    def fill() -> None:
        for _ in range(1600):  # 96 MB, three times what may wait
            made.slice(0, 0, record)
        filled.set()

    thread = threading.Thread(target=fill)
    thread.start()
    assert not filled.wait(0.2)
    stream.open.set()
    thread.join(30)
    assert filled.is_set()
    made.close({})


def test_an_error_of_the_disk_is_kept_and_nobody_waits_for_ever() -> None:
    made = writing(Broken())
    for number in range(1600):
        made.slice(0, 0, perf_record(bytes([number % 251]) * 60_000))
    made.settle()
    assert isinstance(made.error, OSError)
    with pytest.raises(OSError, match="Input/output"):
        made.close({})


def test_abandoning_ends_the_thread_and_writes_nothing_more() -> None:
    stream = io.BytesIO()
    made = writing(stream)
    made.abandon()
    size = len(stream.getvalue())
    assert threading.active_count() == 1
    assert len(stream.getvalue()) == size
