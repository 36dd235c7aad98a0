"""The documentation says what is: links lead somewhere, options exist, the reference is current."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qtapture.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "formats/*.md", "fixtures/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as hosts of repositories make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    kept = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings)
    return {re.sub(r"\s", "-", heading) for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each qtapture command in a page's consoles, without COMMAND's."""
    for block in FENCE.findall(page.read_text()):
        for line in block.splitlines():
            if not line.startswith(("# ", "$ ")):
                continue
            for part in line[2:].split(" | "):
                words = shlex.split(part, comments=True)
                if words[:1] == ["sudo"]:
                    words = words[1:]
                if words and Path(words[0]).name == "qtapture":
                    yield words[1 : words.index("--")] if "--" in words else words[1:]


def options_of(words: list[str]) -> set[str]:
    """The options that a command has, by its own help."""
    named = [word for word in words[:2] if not word.startswith("-")]
    path = named[:1] if not named or named[0] != "export" else named
    command = [sys.executable, "-m", "qtapture", *path, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", result.stdout))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_examples_use_commands_and_options_that_exist(page: Path) -> None:
    for words in commands(page):
        if words and not words[0].startswith("-"):
            assert words[0] in COMMANDS, words
        used = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        assert used <= options_of(words), words


def test_the_reference_of_the_command_line_is_current() -> None:
    made = ROOT / "build" / "cli.md"
    made.parent.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "scripts" / "cli_reference.py"), str(made)]
    subprocess.run(command, check=True)
    current = (ROOT / "docs" / "cli.md").read_text()
    assert made.read_text() == current, "make docs writes it anew"


def test_every_option_of_every_command_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for name in COMMANDS:
        assert f"## qtapture {name}\n" in text
