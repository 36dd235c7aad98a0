"""The writer's thread: compresses and writes while the main thread drains.

Rule 1: the queue is bounded in bytes, and whoever fills it waits.
Rule 2: only this thread touches the session's writer; an error of the disk is kept for whoever
        asks.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qtapture.session import SessionWriter
from qtapture.timebase import boottime_ns

__all__ = ["Writing"]

# Copies wait here while others are compressed: a burst that the rings alone would not hold (a
# full ring is 40 ms of what two cores can say), and half of what the rings take.
_MOST_QUEUED = 32 << 20
# Sealing is the writer's own business, but it has no clock: it is asked so often.
_TICK_SECONDS = 0.05
_EVENT_COST = 64  # bytes that an event's own Python objects weigh, roughly


@dataclass(frozen=True, slots=True)
class _Slice:
    ring: int
    cpu: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Event:
    type: int
    body: bytes
    time_ns: int


class _Checkpoint:
    """Asks for a checkpoint."""


_Item = _Slice | _Event | _Checkpoint


class Writing:
    """One session being written."""

    def __init__(self, writer: SessionWriter) -> None:
        self._writer = writer
        self._items: list[_Item] = []
        self._queued = 0
        self._closing = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    @property
    def error(self) -> BaseException | None:
        """Why nothing is written any more, None while all is well."""
        return self._error

    @property
    def size(self) -> int:
        """Bytes in the file so far."""
        return self._writer.size

    @property
    def whole(self) -> int:
        """Bytes of the file that are whole frames and chunks."""
        return self._writer.whole

    def slice(self, ring: int, cpu: int, data: bytes) -> None:
        """Write perf records; waits where the queue is full."""
        self._put(_Slice(ring, cpu, data))

    def event(self, type_: int, body: bytes, time_ns: int) -> None:
        """Write a record of our own, after everything before it."""
        self._put(_Event(type_, body, time_ns))

    def checkpoint(self) -> None:
        """Write a checkpoint after everything before it."""
        self._put(_Checkpoint())

    def settle(self) -> None:
        """Wait until everything that was added is in the file."""
        self.checkpoint()
        with self._changed:
            while self._queued and self._error is None:
                self._changed.wait()

    def close(self, manifest: Mapping[str, Any]) -> str:
        """Write all that is queued, end the session, return the head of its chain.

        Raises:
            OSError: what the disk said, now or before.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._writer.close(manifest, boottime_ns())

    def abandon(self) -> None:
        """Stop, leaving what is queued unwritten; the session is not closed."""
        with self._changed:
            self._items.clear()
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _put(self, item: _Item) -> None:
        with self._changed:
            while self._queued > _MOST_QUEUED and self._error is None:
                self._changed.wait()
            if self._error is not None:
                return  # the recorder looks at `error` after each round
            self._items.append(item)
            self._queued += _cost(item)
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except OSError as error:
            with self._changed:
                self._error = error
                self._items.clear()
                self._changed.notify_all()

    def _step(self) -> bool:
        """Write what is queued; False when there will be no more."""
        with self._changed:
            if not self._items and not self._closing:
                self._changed.wait(_TICK_SECONDS)
            items, self._items = self._items, []
            closing = self._closing
        for item in items:
            self._write(item)
            with self._changed:
                self._queued -= _cost(item)
                self._changed.notify_all()
        self._writer.tick(boottime_ns())
        return bool(items) or not closing

    def _write(self, item: _Item) -> None:
        match item:
            case _Slice():
                self._writer.add_slice(item.ring, item.cpu, item.data, boottime_ns())
            case _Event():
                self._writer.add_event(item.type, item.body, item.time_ns)
            case _Checkpoint():
                self._writer.checkpoint(boottime_ns())


def _cost(item: _Item) -> int:
    match item:
        case _Slice():
            return len(item.data)
        case _Event():
            return len(item.body) + _EVENT_COST
        case _Checkpoint():
            return _EVENT_COST
