"""Bodies: small ones in memory, others in one file, given back when nobody needs them."""

import random
import tracemalloc
from pathlib import Path

from qtapture.protocols.body import StoredBody
from qtapture.protocols.spool import BLOCK, Spool


def content(stored):
    return b"".join(stored.iter_encoded())


def open_descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_any_sizes_come_back_as_they_went_in():
    chance = random.Random(1)
    spool = Spool()
    kept = []
    for _ in range(60):
        stored, expected = StoredBody(spool), b""
        for _ in range(chance.randrange(8)):
            piece = chance.randbytes(chance.choice([1, 100, 16384, 16385, BLOCK, 3 * BLOCK + 1]))
            stored.append(piece)
            expected += piece
        kept.append((stored, expected))
        if chance.random() < 0.3:
            gone, _ = kept.pop(chance.randrange(len(kept)))
            gone.close()
    for stored, expected in kept:
        assert content(stored) == expected
        assert stored.encoded_size == stored.decoded_size == len(expected)


def test_bodies_that_grow_by_turns_do_not_mix():
    spool = Spool()
    bodies = [StoredBody(spool) for _ in range(10)]
    for turn in range(40):
        for number, stored in enumerate(bodies):
            stored.append(bytes([number, turn]) * 4000)
    for number, stored in enumerate(bodies):
        assert content(stored) == b"".join(bytes([number, turn]) * 4000 for turn in range(40))


def test_thousands_of_open_bodies_need_one_descriptor():
    spool = Spool()
    before = open_descriptors()
    bodies = [StoredBody(spool) for _ in range(3000)]
    for stored in bodies:
        stored.append(bytes(20_000))
    assert open_descriptors() <= before + 1
    for stored in bodies:
        stored.close()
    assert open_descriptors() == before


def test_what_was_given_back_is_used_again_beside_a_transfer_that_never_ends():
    spool = Spool()
    endless = StoredBody(spool)
    endless.append(bytes(BLOCK))
    for _ in range(100):
        passing = StoredBody(spool)
        passing.append(bytes(BLOCK))
        passing.close()
    assert spool.take() <= 2


def test_an_endless_body_costs_no_memory():
    spool = Spool()
    stored = StoredBody(spool)
    piece = bytes(16384)
    tracemalloc.start()
    for _ in range(4000):
        stored.append(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored.encoded_size == 4000 * 16384
    assert peak < 1 << 20
    stored.close()


def test_closing_twice_gives_back_once():
    spool = Spool()
    first, second = StoredBody(spool), StoredBody(spool)
    for stored in (first, second):
        stored.append(b"x" * BLOCK)
    first.close()
    first.close()
    assert content(second) == b"x" * BLOCK
