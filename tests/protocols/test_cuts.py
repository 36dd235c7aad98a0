"""However bytes are cut, the same is found; whatever is missing, what is found is well-formed."""

import random

import pytest
from builders.conversations import CONVERSATIONS
from builders.http import (
    Missing,
    Said,
    answers,
    asks,
    at_random,
    bytewise,
    check,
    exchanges,
    request,
    response,
    shown,
)
from builders.traffic import connection

each = pytest.mark.parametrize("said", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())


def cut_short(said, length):
    """The first so many bytes of a conversation."""
    kept = []
    for step in said:
        kept.append(Said(step.direction, step.data[:length]))
        length -= len(step.data)
        if length <= 0:
            break
    return kept


def joined_late(said, start):
    """The same without its first so many bytes: a connection older than the recording."""
    kept = []
    for step in said:
        if len(step.data) > start:
            kept.append(Said(step.direction, step.data[start:]))
        start = max(start - len(step.data), 0)
    return kept


def holed(said, at, length, *, unknown=False):
    """The same with a hole that begins at so many bytes, within one step."""
    out = []
    for step in said:
        if not 0 <= at < len(step.data):
            out.append(step)
        else:
            missing = min(length, len(step.data) - at)
            out.append(Said(step.direction, step.data[:at]))
            out.append(Missing(step.direction, missing, unknown=unknown))
            out.append(Said(step.direction, step.data[at + missing :]))
        at -= len(step.data)
    return out


def size(said):
    return sum(len(step.data) for step in said)


@each
def test_whole_and_byte_by_byte_are_the_same(said):
    found = exchanges(said)
    check(found, said)
    assert found
    assert [shown(e) for e in exchanges(said, cut=bytewise)] == [shown(e) for e in found]


@each
def test_any_pieces_are_the_same(said):
    found = [shown(e) for e in exchanges(said)]
    for seed in range(10):
        cut = at_random(random.Random(seed))
        assert [shown(e) for e in exchanges(said, cut=cut)] == found


@each
def test_every_truncation_is_well_formed(said):
    for length in range(size(said)):
        short = cut_short(said, length)
        check(exchanges(short), short)


@each
def test_every_late_join_is_well_formed(said):
    for start in range(size(said)):
        late = joined_late(said, start)
        check(exchanges(late, on=connection(older=True)), late)


@each
@pytest.mark.parametrize("length", [1, 7, 50])
@pytest.mark.parametrize("unknown", [False, True])
def test_every_hole_is_well_formed(said, length, unknown):
    for at in range(size(said)):
        gapped = holed(said, at, length, unknown=unknown)
        check(exchanges(gapped), gapped)


def test_who_joins_late_finds_the_next_beginning():
    said = [
        *(asks(request(target="/a", body=b"x" * 40)), answers(response(body=b"a" * 40))),
        *(asks(request(target="/b")), answers(response(body=b"b"))),
    ]
    for start in range(len(b"GET"), len(said[0].data)):
        found = exchanges(joined_late(said, start), on=connection(older=True))
        assert [e.request and e.request.target for e in found] == [None, b"/b"]
        assert [e.response.status for e in found] == [200, 200]
        assert not any(e.first_on_connection for e in found)
    for start in range(len(said[0].data) + 1, len(said[0].data) + len(said[1].data)):
        [found] = exchanges(joined_late(said, start), on=connection(older=True))
        assert (found.request.target, found.response.body.encoded_size) == (b"/b", 1)
