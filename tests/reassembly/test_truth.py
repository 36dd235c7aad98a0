"""Random talks whose truth is known: every byte is in its place or accounted for as missing."""

import random

import pytest
from builders.samples import Host

from qtapture.events import Direction, Gap, Segment, Verdict
from qtapture.reassembly import SideChoice, iter_traffic, survey


class Talk:
    """One connection with both ends here, and what was really said."""

    def __init__(self, host, shuffle, number, tls):
        self.shuffle = shuffle
        self.said = {Direction.C2S: b"", Direction.S2C: b""}
        self.lost = {}  # by end
        client, server = host.run(f"c{number}"), host.run(f"s{number}")
        # Tuples are used again: only time tells these connections apart.
        place = f"127.0.0.1:{50_000 + number % 3}"
        self.sockets = [
            client.connect(place, "127.0.0.1:443"),
            server.accept("127.0.0.1:443", place),
        ]
        self.objects = []
        if tls:
            for process, socket in zip((client, server), self.sockets, strict=True):
                ssl = process.ssl(address=0x5000)
                ssl.join(socket)
                self.objects.append(ssl)

    def step(self, host):
        way = self.shuffle.choice(list(Direction))
        data = self.shuffle.randbytes(self.shuffle.choice([1, 50, 16_384, 40_000]))
        self.said[way] += data
        for end in (0, 1) if way == Direction.C2S else (1, 0):
            sends = (way == Direction.C2S) == (end == 0)
            if self.shuffle.random() < 0.15:
                self.lost[end, way] = self.lost.get((end, way), 0) + len(data)
                with host.losing():
                    self._speak(end, sends, data)
            else:
                self._speak(end, sends, data)

    def _speak(self, end, sends, data):
        if self.objects:
            speak = self.objects[end].write if sends else self.objects[end].read
        else:
            speak = self.sockets[end].send if sends else self.sockets[end].receive
        speak(data)

    def end(self):
        for ssl in self.objects:
            ssl.free()
        for socket in self.sockets:
            socket.close()


def conversation(seed):
    shuffle = random.Random(seed)
    host = Host()
    over, live = [], []
    for number in range(12):
        # never two alive with one tuple
        while len(live) >= 3:
            over.append(live.pop(0))
            over[-1].end()
        live.append(Talk(host, shuffle, number, tls=shuffle.random() < 0.5))
        for _ in range(shuffle.randint(0, 8)):
            shuffle.choice(live).step(host)
    for talk in live:
        talk.end()
    return host, over + live


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("side", list(SideChoice))
def test_every_byte_is_in_its_place_or_missing(seed, side):
    host, talks = conversation(seed)
    source = host.source(random.Random(seed))
    plan = survey(source, side=side)
    ends = 2 if side is SideChoice.BOTH else 1
    assert len(plan.tables.connections) == len(talks) * ends
    shown = {}
    for item in iter_traffic(source, plan):
        if isinstance(item, Segment | Gap):
            shown.setdefault((item.connection.number, item.direction), []).append(item)
    by_owner = {int(p.comm[1:]): p for p in plan.tables.processes}
    assert len(by_owner) == len(talks)
    for connection in plan.tables.connections:
        if connection.client_process is None and connection.server_process is None:
            continue  # nothing of it was seen but its addresses
        process = connection.client_process or connection.server_process
        talk = talks[int(process.comm[1:])]
        end = 0 if connection.side.value == "client" else 1
        for way in Direction:
            _check(connection, way, shown.get((connection.number, way), []), talk, end)


def _check(connection, way, items, talk, end):
    position = missing = 0
    truth = talk.said[way]
    for item in items:
        assert item.offset == position
        if isinstance(item, Segment):
            assert item.data == truth[position : position + len(item.data)]
            position += len(item.data)
        else:
            position += item.length
            missing += item.length
    assert position == len(truth)
    assert missing == talk.lost.get((end, way), 0)
    verdict = connection.verdict_c2s if way == Direction.C2S else connection.verdict_s2c
    assert verdict is (Verdict.PARTIAL if missing else Verdict.COMPLETE)
