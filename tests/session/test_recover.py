"""Recovering: a file that is whole again, and says where it is not."""

import io
from pathlib import Path

import pytest
from builders.sessions import chunk_spans, minimal, opened, told, unclosed

from qtapture.cli.app import run
from qtapture.errors import NotASessionError
from qtapture.session import open_session, verify_session
from qtapture.session.recover import Recovery, recover_session

WHOLE = minimal()
SPANS = chunk_spans(WHOLE)
ROWS = [word for n in range(3) for word in (f"sample {n}", "event 1")]


def recovered(folder: Path, raw: bytes) -> tuple[Recovery, bytes]:
    """Recover these bytes; they must stay as they are."""
    path = folder / "session.qtap"
    reader = opened(folder, raw)
    out = io.BytesIO()
    found = recover_session(reader, path, out)
    assert path.read_bytes() == raw
    return found, out.getvalue()


def state(folder: Path, raw: bytes) -> str:
    path = folder / "again.qtap"
    path.write_bytes(raw)
    return verify_session(path).state


def rows(folder: Path, raw: bytes) -> list[str]:
    return [row for row in told(opened(folder, raw)) if not row.startswith("hole")]


def removed() -> bytes:
    (start, stop) = SPANS[1]
    return WHOLE[:start] + WHOLE[stop:]


def flipped() -> bytes:
    raw = bytearray(WHOLE)
    raw[SPANS[1][0] + 160] ^= 1
    return bytes(raw)


def swapped() -> bytes:
    (a, b), (c, d) = SPANS[0], SPANS[1]
    return WHOLE[:a] + WHOLE[c:d] + WHOLE[a:b] + WHOLE[d:]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (removed(), [0, 2]),
        (flipped(), [0, 2]),
        (swapped(), [0, 1, 2]),
        (WHOLE[: SPANS[2][0] + 20], [0, 1]),
        (WHOLE + b"garbage", [0, 1, 2]),
        (b"\xff" * 20 + WHOLE[20:], [0, 1, 2]),
        (unclosed(), [0, 1, 2]),
    ],
)
def test_what_is_readable_is_kept_and_the_file_is_whole(
    tmp_path: Path, raw: bytes, kept: list[int]
) -> None:
    _, out = recovered(tmp_path, raw)
    assert state(tmp_path, out) == "recovered"
    expected = [row for row in ROWS if row != "event 1"]
    samples = [row for row in rows(tmp_path, out) if row.startswith("sample")]
    assert samples == [expected[n] for n in kept]


def test_chunks_are_copied_byte_for_byte(tmp_path: Path) -> None:
    _, out = recovered(tmp_path, removed())
    for number in (0, 2):
        start, stop = SPANS[number]
        assert WHOLE[start:stop] in out


def test_a_hole_names_both_sides(tmp_path: Path) -> None:
    found, out = recovered(tmp_path, removed())
    (hole, *_) = opened(tmp_path, out).holes
    assert (hole.last, hole.next) == (0, 2)
    # The second one stands where the index was.
    assert found.holes == 2


def test_a_chunk_of_another_session_is_left_out_and_counted(tmp_path: Path) -> None:
    other = unclosed()
    (start, stop), (a, b) = SPANS[1], chunk_spans(other)[1]
    found, out = recovered(tmp_path, WHOLE[:stop] + other[a:b] + WHOLE[stop:])
    assert found.left_out == 1
    assert rows(tmp_path, out) == ROWS
    assert start < stop


def test_any_truncation_recovers_what_the_reader_read(tmp_path: Path) -> None:
    for end in range(SPANS[0][1], len(WHOLE), 37):
        raw = WHOLE[:end]
        expected = rows(tmp_path, raw)
        _, out = recovered(tmp_path, raw)
        assert rows(tmp_path, out) == expected
        assert state(tmp_path, out) == "recovered"


def test_nothing_to_recover_is_said(tmp_path: Path) -> None:
    header_only = WHOLE[: SPANS[0][0]]
    with pytest.raises(NotASessionError, match="not one chunk"):
        recovered(tmp_path, header_only)


def test_the_command_writes_beside_and_refuses_what_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.qtap"
    path.write_bytes(removed())
    assert run(["recover", str(path)]) == 0
    assert "4 chunks, 2 holes" in capsys.readouterr().out
    made = tmp_path / "a.recovered.qtap"
    assert run(["verify", str(made)]) == 0
    assert open_session(made).header["host"] == "imaginary"
    path.write_bytes(WHOLE)
    assert run(["recover", str(path)]) == 2
    assert "nothing to recover" in capsys.readouterr().err
    assert run(["recover", str(made)]) == 2
