"""Where a session goes."""

import os
import stat
from pathlib import Path

import pytest

from qtapture.errors import UsageError
from qtapture.record.target import open_target


def test_a_new_session_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    target = open_target(tmp_path / "a.qtap", force=False)
    target.stream.close()
    assert stat.S_IMODE((tmp_path / "a.qtap").stat().st_mode) == 0o600


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.qtap"
    path.write_text("evidence")
    with pytest.raises(UsageError, match="exists"):
        open_target(path, force=False)
    assert path.read_text() == "evidence"


def test_force_replaces_a_file_by_another_one(tmp_path: Path) -> None:
    path = tmp_path / "a.qtap"
    path.write_text("old")
    before = path.stat().st_ino
    with path.open() as held:
        open_target(path, force=True).stream.close()
        assert path.read_text() == ""
        assert path.stat().st_ino != before
        assert held.read() == "old"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        open_target(tmp_path / "link", force=False)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        open_target(tmp_path / "none" / "a.qtap", force=False)


def test_taking_back_removes_what_was_created(tmp_path: Path) -> None:
    target = open_target(tmp_path / "a.qtap", force=False)
    target.take_back()
    assert not (tmp_path / "a.qtap").exists()


def test_a_named_pipe_is_written_to_and_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    target = open_target(path, force=False)
    assert target.disk is None
    target.take_back()
    assert path.exists()
    os.close(reader)
