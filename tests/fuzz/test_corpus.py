"""Every input of the fuzzer's corpora, whole and cut, does what each target promises."""

import importlib
from pathlib import Path

import pytest

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
# Where inputs are cut: in heads, in the middle, and just before the end.
PLACES = (1, 8, 21, 64, 150, 700)
MOST_KIB = 300


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_and_its_beginnings_are_survived(path: Path) -> None:
    check = importlib.import_module(f"fuzz.{path.parent.name}").check
    data = path.read_bytes()
    check(data)
    for end in {*PLACES, len(data) // 2, len(data) - 1}:
        check(data[:end])


def test_every_target_has_a_corpus_and_all_of_them_are_small() -> None:
    helpers = {"runner", "make_corpus", "test_corpus"}
    targets = {path.stem for path in CORPUS.parent.glob("*.py")} - helpers
    assert targets == {path.parent.name for path in INPUTS}
    assert sum(path.stat().st_size for path in INPUTS) < MOST_KIB << 10
