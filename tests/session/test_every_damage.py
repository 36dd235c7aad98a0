"""Every truncation, every changed byte, every misplaced chunk: named, read around, recovered."""

import random
from pathlib import Path

import pytest
from builders.damages import (
    CHUNK_START,
    Told,
    changed,
    check_findings,
    frame_alone,
    header_of,
    joined,
    pieces,
    recovered,
    sealed_anew,
    session_holding,
    session_of,
    session_with_checkpoint,
    told_of,
    whole_chunks,
)
from builders.sessions import chunk_spans

from qtapture.errors import FormatError, NotASessionError
from qtapture.session.chunk import EVENTS, Part, pack_content
from qtapture.session.frames import NOWHERE, ChunkKind, Hole, pack_hole

FIXTURES = Path(__file__).parents[2] / "fixtures"
MINIMAL = (FIXTURES / "session-v1-minimal.qtap").read_bytes()
FULL = (FIXTURES / "session-v1-full.qtap").read_bytes()
RECOVERED = (FIXTURES / "recovered.qtap").read_bytes()
SPANS = chunk_spans(MINIMAL)
HEADER_END = SPANS[0][0]
HEAD, CHUNKS, INDEX = pieces(MINIMAL)
# Positions of each other fixture that are damaged, beside all of its header.
SAMPLED = 2_000
GOOD = {"intact", "recovered"}
OTHERS = sorted(path.name for path in FIXTURES.glob("*.qtap") if "minimal" not in path.name)


def check_recovery(folder: Path, raw: bytes, told: Told) -> None:
    """A new file that verifies, with all that was read, in order of sequence."""
    _, out = recovered(folder, raw)
    again = told_of(folder, out)
    assert again.verification.state in GOOD
    assert again.rows == sorted(told.rows, key=lambda row: row[0])
    # Nothing is gone unsaid: an end or a link that is missing is a hole.
    if not told.reader.closed or again.reader.chunks < len(CHUNKS):
        assert again.verification.holes


def check_damage(folder: Path, raw: bytes) -> Told:
    """What holds of any damage to a file that had at least one chunk left."""
    told = told_of(folder, raw)
    check_findings(told, len(raw))
    assert told.rows == whole_chunks(raw)
    check_recovery(folder, raw, told)
    return told


def test_every_truncation_is_named_read_as_far_as_it_goes_and_recovered(tmp_path: Path) -> None:
    for end in range(len(MINIMAL)):
        raw = MINIMAL[:end]
        if end < HEADER_END:
            with pytest.raises(NotASessionError, match="at byte 0"):
                told_of(tmp_path, raw)
            continue
        if end < SPANS[0][1]:
            told = told_of(tmp_path, raw)
            with pytest.raises(NotASessionError, match="not one chunk"):
                recovered(tmp_path, raw)
        else:
            told = check_damage(tmp_path, raw)
        assert told.verification.state == "unclosed", end
        check_the_cut(told, end)


def check_the_cut(told: Told, end: int) -> None:
    """The frame that was cut is named by its own offset, and its chunk as soon as it is known."""
    starts = [HEADER_END, *(stop for _, stop in SPANS[:-1]), SPANS[-1][0]]
    start = max(place for place in starts if place <= end)
    findings = [(f.code, f.offset, f.chunk) for f in told.verification.findings]
    after_index = start == SPANS[-1][0]
    whole_frame = (start, end) != (SPANS[-2][1], end) and end >= start + 152
    chunk = next((n for n, (at, _) in enumerate(SPANS) if at == start), None)
    expected = [("truncated", start, chunk if whole_frame else None)] if end > start else []
    expected += [("manifest_missing", end, None)] if after_index else []
    assert findings == expected, end


@pytest.mark.parametrize("by", [0x01, 0x5A, 0x80, 0xFF])
def test_every_changed_byte_is_named_where_it_is_read_around_and_recovered(
    tmp_path: Path, by: int
) -> None:
    starts = [0, *(start for start, _ in SPANS), SPANS[-2][1]]
    for at in range(len(MINIMAL)):
        told = check_damage(tmp_path, changed(MINIMAL, at, by))
        assert told.verification.state == "damaged", at
        hit = max(start for start in starts if start <= at)
        chunk = next((n for n, (start, _) in enumerate(SPANS) if start == hit), None)
        first = told.verification.findings[0]
        assert first.offset == hit, at
        assert first.chunk in {None, chunk}, at
        if chunk is not None and at >= hit + 152:
            assert (first.code, first.chunk) == ("payload_damaged", chunk), at


@pytest.mark.parametrize("name", OTHERS)
def test_damage_anywhere_in_any_fixture_is_read_around_and_recovered(
    tmp_path: Path, name: str
) -> None:
    raw = (FIXTURES / name).read_bytes()
    dice = random.Random(name)
    header = range(raw.index(CHUNK_START))
    for at in [*header, *(dice.randrange(len(raw)) for _ in range(SAMPLED))]:
        damaged = changed(raw, at, dice.randrange(1, 256))
        told = check_damage(tmp_path, damaged)
        assert told.verification.state not in GOOD, at


@pytest.mark.parametrize("name", OTHERS)
def test_a_cut_anywhere_in_any_fixture_is_read_up_to_it_and_recovered(
    tmp_path: Path, name: str
) -> None:
    raw = (FIXTURES / name).read_bytes()
    dice = random.Random(name)
    for _ in range(SAMPLED // 10):
        damaged = raw[: dice.randrange(len(raw))]
        try:
            told = check_damage(tmp_path, damaged)
        except FormatError:
            assert whole_chunks(damaged) == []
            continue
        assert told.verification.state not in GOOD, len(damaged)


# ---------------------------------------------------------------------- chunks in wrong places


@pytest.mark.parametrize("gone", range(len(CHUNKS)))
def test_a_removed_chunk_is_named_at_the_next_one(tmp_path: Path, gone: int) -> None:
    left = [chunk for n, chunk in enumerate(CHUNKS) if n != gone]
    last = gone == len(CHUNKS) - 1
    raw = HEAD + b"".join(left) + INDEX if last else joined(HEAD, left, INDEX)
    told = check_damage(tmp_path, raw)
    findings = told.verification.findings
    if last:
        assert [(f.code, f.offset) for f in findings] == [("manifest_missing", len(raw))]
        return
    assert told.verification.state == "damaged"
    place = SPANS[gone][0]
    if gone == len(CHUNKS) - 2:  # the index is what follows it
        assert [f.code for f in findings] == ["chain_broken", "chunks_missing"]
        assert findings[0].offset == place
        return
    (finding,) = findings
    assert (finding.code, finding.offset, finding.chunk) == ("chunks_missing", place, gone + 1)


@pytest.mark.parametrize("one", range(len(CHUNKS)))
@pytest.mark.parametrize("other", range(len(CHUNKS)))
def test_chunks_that_changed_places_are_named_and_both_read(
    tmp_path: Path, one: int, other: int
) -> None:
    if one == other:
        return
    order = list(CHUNKS)
    order[one], order[other] = order[other], order[one]
    told = check_damage(tmp_path, joined(HEAD, order, INDEX))
    assert told.verification.state == "damaged"
    codes = {f.code for f in told.verification.findings}
    assert {"chunks_missing", "chunk_out_of_order"} <= codes


@pytest.mark.parametrize("number", range(len(CHUNKS)))
@pytest.mark.parametrize("before", range(len(CHUNKS) + 1))
def test_a_repeated_chunk_is_named_and_read_once(tmp_path: Path, number: int, before: int) -> None:
    order = [*CHUNKS[:before], CHUNKS[number], *CHUNKS[before:]]
    told = check_damage(tmp_path, joined(HEAD, order, INDEX))
    assert told.verification.state == "damaged"
    assert "chunk_repeated" in {f.code for f in told.verification.findings}
    assert len(told.rows) == 6


@pytest.mark.parametrize("number", range(len(CHUNKS)))
def test_a_good_copy_of_a_damaged_chunk_is_read(tmp_path: Path, number: int) -> None:
    bad = changed(CHUNKS[number], 160, 1)
    for order in ([bad, CHUNKS[number]], [CHUNKS[number], bad]):
        copies = [*CHUNKS[:number], *order, *CHUNKS[number + 1 :]]
        told = check_damage(tmp_path, joined(HEAD, copies, INDEX))
        assert told.verification.state == "damaged"
        assert len(told.rows) == 6


@pytest.mark.parametrize("before", range(len(CHUNKS) + 1))
@pytest.mark.parametrize("number", range(len(CHUNKS)))
def test_a_chunk_of_another_session_is_named_and_does_not_displace_ours(
    tmp_path: Path, before: int, number: int
) -> None:
    foreign = pieces(FULL)[1][number]
    order = [*CHUNKS[:before], foreign, *CHUNKS[before:]]
    raw = joined(HEAD, order, INDEX)
    told = told_of(tmp_path, raw)
    check_findings(told, len(raw))
    assert told.verification.state == "damaged"
    assert told.rows == whole_chunks(raw)
    found, out = recovered(tmp_path, raw)
    again = told_of(tmp_path, out)
    assert again.verification.state == "recovered"
    assert all(chunk in out for chunk in CHUNKS)
    assert (found.left_out, foreign in out) == (1, False)


@pytest.mark.parametrize("number", range(len(CHUNKS)))
def test_a_chunk_of_another_session_in_the_place_of_one_is_named(
    tmp_path: Path, number: int
) -> None:
    foreign = pieces(FULL)[1][number]
    order = [*CHUNKS[:number], foreign, *CHUNKS[number + 1 :]]
    told = check_damage(tmp_path, joined(HEAD, order, INDEX))
    assert told.verification.state == "damaged"
    assert "chain_broken" in {f.code for f in told.verification.findings}


# ---------------------------------------------------------------------- bytes that came or went


@pytest.mark.parametrize("number", range(len(CHUNKS) - 1))
@pytest.mark.parametrize("lost", [1, 7, 30])
def test_bytes_lost_from_a_payload_cost_that_chunk_alone(
    tmp_path: Path, number: int, lost: int
) -> None:
    start, stop = SPANS[number]
    told = check_damage(tmp_path, MINIMAL[: start + 160] + MINIMAL[start + 160 + lost :])
    first = told.verification.findings[0]
    assert (first.code, first.offset, first.chunk) == ("payload_damaged", start, number)
    assert told.reader.chunks == len(CHUNKS) - 1
    assert stop - start > 160 + lost


def test_bytes_lost_from_a_large_chunk_before_small_ones_do_not_end_the_reading(
    tmp_path: Path,
) -> None:
    """What the frame says is longer than the rest of the file, and yet chunks follow."""
    raw = session_of([b"x%d" % n * 9 for n in range(3)], first=random.Random(7).randbytes(60_000))
    start, _ = chunk_spans(raw)[0]
    told = check_damage(tmp_path, raw[: start + 1_000] + raw[start + 58_000 :])
    assert told.verification.findings[0].code == "payload_damaged"
    assert {sequence for sequence, _ in told.rows} == {1, 2, 3}


@pytest.mark.parametrize("number", range(len(CHUNKS)))
def test_bytes_added_to_a_payload_cost_that_chunk_alone(tmp_path: Path, number: int) -> None:
    at = SPANS[number][0] + 160
    told = check_damage(tmp_path, MINIMAL[:at] + b"more" + MINIMAL[at:])
    assert told.verification.findings[0].code == "payload_damaged"
    assert told.reader.chunks == len(CHUNKS) - 1


def test_frames_that_lie_over_each_other_are_searched_only_so_often(tmp_path: Path) -> None:
    """Each claims a payload that reaches over all that follow it."""
    frames = [frame_alone(sequence, stored_len=200_000) for sequence in range(1_200)]
    told = told_of(tmp_path, HEAD + b"".join(frames))
    assert told.rows == []
    assert told.verification.state == "damaged"
    assert len(told.verification.findings) < 3_000


def test_findings_of_a_content_full_of_broken_parts_fill_no_memory(tmp_path: Path) -> None:
    content = pack_content(ChunkKind.EVENT, 0, [Part(EVENTS, 0, b"x")] * 20_000)
    told = told_of(tmp_path, session_holding(content, ChunkKind.EVENT))
    assert {f.code for f in told.verification.findings} == {"content_damaged"}
    assert len(told.verification.findings) == 10_000


def test_a_file_of_holes_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qtapture.session.scan._MOST_HOLES", 5)
    hole = Hole(last=NOWHERE, last_chain=bytes(32), next=NOWHERE, next_previous=bytes(32))
    told = told_of(tmp_path, HEAD + pack_hole(hole) * 9 + b"".join(CHUNKS))
    assert told.verification.holes == 5
    assert [f.code for f in told.verification.findings].count("unreadable") == 4


# ---------------------------------------------------------------------- what a recovery states


def test_chunks_that_are_gone_before_a_hole_are_not_covered_by_it(tmp_path: Path) -> None:
    (start, stop), *_ = chunk_spans(RECOVERED)
    told = check_damage(tmp_path, RECOVERED[:start] + RECOVERED[stop:])
    assert told.verification.state == "damaged"
    assert [(f.code, f.offset) for f in told.verification.findings] == [("chain_broken", start)]


def test_a_recovered_session_that_is_cut_is_not_called_recovered(tmp_path: Path) -> None:
    for _, stop in chunk_spans(RECOVERED)[1:-1]:
        assert check_damage(tmp_path, RECOVERED[:stop]).verification.state == "unclosed"
    _, out = recovered(tmp_path, MINIMAL[: SPANS[1][1]])
    assert told_of(tmp_path, out).verification.state == "recovered"
    assert told_of(tmp_path, out[:-92]).verification.state == "unclosed"
    for end in range(len(out) - 91, len(out)):
        assert told_of(tmp_path, out[:end]).verification.findings[0].code == "truncated"


def test_what_stands_behind_the_end_does_not_make_the_end_missing(tmp_path: Path) -> None:
    _, out = recovered(tmp_path, MINIMAL + b"garbage")
    again = told_of(tmp_path, out)
    assert again.reader.closed
    assert [hole.next for hole in again.reader.holes] == [4]  # the index is left out


def test_a_content_that_was_damaged_when_it_was_hashed_is_a_hole(tmp_path: Path) -> None:
    raw = joined(HEAD, [CHUNKS[0], sealed_anew(CHUNKS[1], b"no zstd"), *CHUNKS[2:]], INDEX)
    told = told_of(tmp_path, raw)
    assert "content_damaged" in {f.code for f in told.verification.findings}
    _, out = recovered(tmp_path, raw)
    again = told_of(tmp_path, out)
    assert again.verification.state == "recovered"
    assert [sequence for sequence, _ in again.rows] == [0, 0, 2, 2]


def test_a_header_that_is_written_otherwise_is_copied_as_it_is(tmp_path: Path) -> None:
    header = header_of(b'{"host": "h\xc3\xa4user"}')  # blanks and raw UTF-8
    raw = session_of([b"a", b"b"], header=header)
    _, out = recovered(tmp_path, raw[: chunk_spans(raw)[1][1]])
    assert out.startswith(header)
    assert [hole.last for hole in told_of(tmp_path, out).reader.holes] == [1]


@pytest.mark.parametrize(
    "text",
    [
        b'{"header":{"a":"' + "\u00e4".encode() * 60_000 + b'"}}',  # three times as long as ASCII
        b'{"header":{"a":' + b"[" * 950 + b"]" * 950 + b"}}",
        b'{"header":' + b"[" * 50_000,
        b'{"header":{}}',
        b'{"header":7}',
        b"[]",
    ],
    ids=["long", "nested", "broken", "empty", "number", "list"],
)
def test_a_checkpoint_that_no_writer_wrote_gives_no_header(tmp_path: Path, text: bytes) -> None:
    raw = bytes(20) + session_with_checkpoint(text)[20:]
    told = told_of(tmp_path, raw)
    assert told.reader.header in ({}, {"a": told.reader.header.get("a")})
    _, out = recovered(tmp_path, raw)
    assert told_of(tmp_path, out).verification.state == "recovered"


def test_a_signature_behind_the_manifest_leaves_the_session_closed(tmp_path: Path) -> None:
    signed = MINIMAL + frame_alone(5, kind=ChunkKind.SIGNATURE, after=CHUNKS[4])
    assert told_of(tmp_path, signed).verification.state == "intact"
