"""How a recorder drains rings: rounds, CPUs, slices cut anywhere."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from builders.records import perf_sample, round_event

from qtapture.source import EventRecord, Record, Slice


@dataclass
class Emitted:
    """One sample on its way to a ring."""

    time_ns: int
    cpu: int
    ring: int
    raw: bytes


def as_slice(samples: list[Emitted]) -> Slice:
    data = b"".join(perf_sample(s.raw) for s in samples)
    return Slice(samples[0].ring, samples[0].cpu, data)


def iter_drained(told: list, shuffle: random.Random) -> Iterator[Record]:
    """Rounds as a recorder drains: T is read, then each ring up to a time of its own after T.

    What is younger than T may be in a ring or not yet; what is older certainly is.
    """
    cpus = 4
    rings: dict[tuple[int, int], list[Emitted]] = {}
    cpu_of_call: dict[tuple[int, int], int] = {}
    clock = 0
    waiting = list(told)
    number = 0
    while waiting:
        step = shuffle.randint(1, 12)
        clock = max(_time_of(r) for r in waiting[:step])
        ahead = shuffle.randint(0, 6)
        for record in waiting[: step + ahead]:
            if isinstance(record, Emitted):
                # pieces of one call come from one CPU
                cpu = cpu_of_call.setdefault((record.time_ns, record.ring), shuffle.randrange(cpus))
                rings.setdefault((record.ring, cpu), []).append(record)
            else:
                yield record
        del waiting[: step + ahead]
        keys = list(rings)
        shuffle.shuffle(keys)
        kept: dict[tuple[int, int], list[Emitted]] = {}
        for key in keys:
            samples = rings[key]
            certain = sum(s.time_ns <= clock for s in samples)
            taken = shuffle.randint(certain, len(samples))
            kept[key] = samples[taken:]
            yield from _slices(key, samples[:taken], shuffle)
        rings = {key: samples for key, samples in kept.items() if samples}
        number += 1
        yield round_event(clock + 1, number)
    for key in sorted(rings):
        yield from _slices(key, rings[key], shuffle)


def _slices(key, samples: list[Emitted], shuffle: random.Random) -> Iterator[Slice]:
    while samples:
        count = shuffle.randint(1, len(samples))
        data = b"".join(perf_sample(s.raw) for s in samples[:count])
        yield Slice(key[0], key[1], data)
        samples = samples[count:]


def _time_of(record) -> int:
    return record.time_ns if isinstance(record, Emitted | EventRecord) else 0
