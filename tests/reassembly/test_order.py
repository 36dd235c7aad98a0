import random

import pytest
from builders.replayed import CLIENT, both_ends, replayed, tls_talk, told
from builders.samples import Host

from qtapture.events import (
    Direction,
    Segment,
)
from qtapture.reassembly import iter_traffic, survey


@pytest.mark.parametrize("seed", range(25))
def test_any_interleaving_of_cpus_gives_the_same(seed):
    host = Host()
    socket, ssl = tls_talk(host)
    both_ends(host)
    for index in range(40):
        ssl.write(b"piece %d" % index)
        if index == 20:
            with host.losing():
                ssl.read(b"lost")
        ssl.read(bytes([index]) * 40_000)
    ssl.free()
    socket.close()
    host.losses()
    plain, expected = replayed(host)
    mixed, found = replayed(host, shuffle=random.Random(seed))

    def comparable(items):
        return [_without_record(item) for item in items]

    assert mixed.tables == plain.tables
    assert mixed.counts.stragglers == 0
    assert comparable(found) == comparable(expected)


def _without_record(item):
    if isinstance(item, Segment):
        return (item.connection.number, item.direction, item.offset, item.data, item.time_ns)
    return item


def test_a_straggler_is_put_in_its_place_and_counted():
    from builders.records import ListSource, round_event

    host = Host()
    socket, ssl = tls_talk(host)
    ssl.write(b"second")
    ssl.write(b"third")
    ssl.free()
    socket.close()
    expected = replayed(host)[1]
    records = host.source().records
    late = records.pop(-5)
    end = round_event(host.time_ns + 1)
    source = ListSource([*records, end, end, late], host.header)
    plan = survey(source)
    assert plan.counts.stragglers == 1
    found = list(iter_traffic(source, plan))
    assert [_without_record(i) for i in found] == [_without_record(i) for i in expected]


def test_pieces_out_of_order_wait_for_those_before_them():
    host = Host()
    nc = host.run("nc")
    socket = nc.connect(CLIENT, "10.0.0.9:80")
    socket.send(b"first")
    one = host.records.pop()
    socket.send(b"second")
    two = host.records.pop()
    # Two threads: the offsets were given out in the other order than the times.
    one.raw = one.raw[:8] + (host.time_ns + 5).to_bytes(8, "little") + one.raw[16:]
    host.tick()
    host.records += [two, one]
    socket.close()
    _, items = replayed(host)
    assert told(items, Direction.C2S) == [b"firstsecond"]
