"""Package data is found, in a checkout and as a wheel lays it out."""

from pathlib import Path

import pytest

from qtapture import resources


def test_a_checkout_has_its_files_beside_the_package() -> None:
    assert (resources.folder("bpf") / "qtapture.h").is_file()
    assert resources.read_text("formats/streams.md").startswith("# ")


def test_a_wheel_has_its_files_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "qtapture" / "_data" / "formats"
    inside.mkdir(parents=True)
    (inside / "x.md").write_text("x")
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "qtapture")
    assert resources.folder("formats") == inside
    assert resources.read_text("formats/x.md") == "x"


def test_an_incomplete_installation_is_an_error_that_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "qtapture")
    with pytest.raises(FileNotFoundError, match="bpf"):
        resources.folder("bpf")
