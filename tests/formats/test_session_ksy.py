"""The machine-readable twins of formats/session.md, compiled by Kaitai Struct."""

import subprocess
from pathlib import Path

import pytest
from builders.node import run_node

from qtapture.session import open_session
from qtapture.session.frames import CHUNK_SIZE, take_chunk
from qtapture.source import EventRecord, Slice

ROOT = Path(__file__).parents[2]
SESSIONS = ["session-v1-minimal", "session-v1-full", "real-curl-nginx"]


def read_by_kaitai(path: Path, folder: Path) -> dict:
    """What the two descriptions find in a session."""
    content = folder / "content"
    with content.open("wb") as file:
        subprocess.run(["zstd", "-q", "-dc", path], stdout=file, check=True)
    return run_node("session_kaitai.mjs", ROOT / "formats", folder, path, content)


@pytest.mark.parametrize("name", SESSIONS)
def test_kaitai_finds_the_frames_that_we_find(name: str, tmp_path: Path) -> None:
    path = ROOT / "fixtures" / f"{name}.qtap"
    found = read_by_kaitai(path, tmp_path)
    reader = open_session(path)
    # JavaScript's numbers end at 2^53: the anchor's are larger.
    known = {key: value for key, value in reader.header.items() if key != "anchor"}
    assert {key: found["facts"][key] for key in known} == known
    assert len(found["chunks"]) == reader.chunks
    assert found["chunks"][-1]["chain"] == reader.chain_head
    assert [chunk["sequence"] for chunk in found["chunks"]] == list(range(reader.chunks))


@pytest.mark.parametrize("name", SESSIONS)
def test_kaitai_finds_the_records_that_we_find(name: str, tmp_path: Path) -> None:
    path = ROOT / "fixtures" / f"{name}.qtap"
    found = read_by_kaitai(path, tmp_path)
    parts = [part for one in found["contents"] if one["kind"] in (1, 2) for part in one["parts"]]
    records = list(open_session(path).iter_records())
    slices = [(s.ring, s.cpu, len(s.data)) for s in records if isinstance(s, Slice)]
    assert [(p["ring"], p["cpu"], p["length"]) for p in parts if p["ring"] != 0xFFFF] == slices
    events = [e.type for e in records if isinstance(e, EventRecord)]
    assert [type_ for p in parts if p["ring"] == 0xFFFF for type_ in p["types"]] == events


@pytest.mark.parametrize("name", SESSIONS)
def test_the_index_points_at_chunks(name: str, tmp_path: Path) -> None:
    path = ROOT / "fixtures" / f"{name}.qtap"
    raw = path.read_bytes()
    (rows,) = read_by_kaitai(path, tmp_path)["index"]
    assert rows
    for row in rows:
        frame = take_chunk(raw[row["offset"] : row["offset"] + CHUNK_SIZE])
        assert frame is not None
        assert (frame.sequence, frame.kind) == (row["sequence"], row["kind"])
