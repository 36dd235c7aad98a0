"""Outputs appear under their name when complete, private, and never in place of something else."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from builders.traffic import clock, feed, tables

from qtapture.errors import UsageError
from qtapture.export import EXPORTS, ExportOptions
from qtapture.export.output import OutputFile, OutputFolder


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_a_file_has_its_name_only_when_complete(tmp_path):
    path = tmp_path / "out"
    output = OutputFile(path)
    output.stream.write(b"half")
    assert not path.exists()
    output.commit()
    assert path.read_bytes() == b"half"
    assert names(tmp_path) == ["out"]


def test_a_file_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        output = OutputFile(tmp_path / "out")
        during = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
        output.commit()
    finally:
        os.umask(before)
    assert during == {0o600}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600


def test_a_file_that_appeared_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "out"
    output = OutputFile(path)
    path.write_bytes(b"somebody else's")
    with pytest.raises(UsageError, match="exists"):
        output.commit()
    output.abandon()
    assert path.read_bytes() == b"somebody else's"
    assert names(tmp_path) == ["out"]


def test_without_links_a_file_still_gets_its_name(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    output = OutputFile(tmp_path / "out")
    output.commit()
    assert names(tmp_path) == ["out"]


def test_force_replaces_a_file_at_the_end(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    output = OutputFile(path, force=True)
    output.stream.write(b"new")
    assert path.read_bytes() == b"old"
    output.commit()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_is_never_replaced_by_a_file(tmp_path, force):
    with pytest.raises(UsageError, match="is a folder"):
        OutputFile(tmp_path, force=force)


def test_a_missing_parent_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        OutputFile(tmp_path / "no" / "out")
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        OutputFolder(tmp_path / "no" / "out", is_ours=lambda _: True)


def test_a_dangling_link_is_something_that_exists(tmp_path):
    (tmp_path / "out").symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists"):
        OutputFile(tmp_path / "out")


def test_a_device_is_written_directly():
    output = OutputFile(Path("/dev/null"))
    output.stream.write(b"gone")
    output.commit()


def test_abandoning_a_file_leaves_nothing_and_spares_what_was_there(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    output = OutputFile(path, force=True)
    output.stream.write(b"new")
    output.abandon()
    assert names(tmp_path) == ["out"]
    assert path.read_bytes() == b"old"


def test_a_committed_file_cannot_be_abandoned(tmp_path):
    output = OutputFile(tmp_path / "out")
    output.commit()
    output.abandon()
    assert names(tmp_path) == ["out"]


def test_stdout_gets_the_bytes():
    program = (
        "from qtapture.export.output import OutputFile\n"
        "o = OutputFile(None); o.stream.write(bytes(range(256))); o.commit(); o.abandon()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == bytes(range(256))


def test_a_folder_has_its_name_only_when_complete(tmp_path):
    output = OutputFolder(tmp_path / "out", is_ours=lambda _: False)
    (output.at / "x").write_bytes(b"x")
    assert stat.S_IMODE(output.at.stat().st_mode) == 0o700
    assert not (tmp_path / "out").exists()
    output.commit()
    output.abandon()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["x"]


def test_a_folder_of_others_is_never_replaced(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter").write_text("dear")
    with pytest.raises(UsageError, match="not an earlier output"):
        OutputFolder(home, is_ours=lambda _: False, force=True)
    assert names(home) == ["letter"]


def test_a_file_in_the_place_of_a_folder_is_kept(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="not a folder"):
        OutputFolder(tmp_path / "out", is_ours=lambda _: True, force=True)


def test_the_registry_loads_no_exporter():
    program = (
        "import sys, qtapture.export\n"
        "loaded = [m for m in sys.modules if m.startswith('qtapture.export.') or m == 'dpkt']\n"
        "sys.exit(' '.join(loaded) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", sorted(EXPORTS))
def test_every_row_of_the_registry_can_be_opened(tmp_path, name):
    kind = EXPORTS[name]
    path = tmp_path / f"session{kind.suffix}"
    feed(kind.open(path, clock(), ExportOptions()), tables())
    assert path.is_dir() == kind.folder
