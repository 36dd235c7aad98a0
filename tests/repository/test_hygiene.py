"""What holds for every file of the repository."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Lines that are not blank: how much air a file has is the formatter's business.
LONGEST_FILE = 400
# Of a body: a command's signature, one option under the other, is a table.
LONGEST_FUNCTION = 60
# In a checkout nothing names the machine that it was made on, or where packages came from.
FOREIGN = re.compile(
    rb"registry\.(?:npmjs|yarnpkg)\.\w+|pypi\.(?:org|python)/|files\.pythonhosted|artifactory"
    rb"|\"resolved\":\s*\"https?:|(?<![\w.])/(?:work|home/\w+)/[\w.]"
)


def tracked() -> list[Path]:
    """Files that git knows, or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    paths = [ROOT / name.decode() for name in names.split(b"\0") if name]
    return sorted(path for path in paths if path.is_file())


@pytest.fixture(scope="module")
def files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    return tracked()


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_names_a_registry_or_a_build_machine(files: list[Path]) -> None:
    found = []
    for path in files:
        if path == Path(__file__):
            continue
        found += [f"{shown(path)}: {match[0]!r}" for match in FOREIGN.finditer(path.read_bytes())]
    assert found == []


def test_no_file_of_source_is_too_long(files: list[Path]) -> None:
    source = [path for path in files if path.suffix in {".py", ".c", ".h"}]
    assert source
    long = {
        shown(path): count
        for path in source
        if (count := sum(map(bool, map(str.strip, path.read_text().splitlines())))) > LONGEST_FILE
    }
    assert long == {}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name of each function in a file, and the length of its body."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{shown(path)}:{node.name}", (node.end_lineno or 0) - node.body[0].lineno + 1


def test_no_function_is_too_long(files: list[Path]) -> None:
    package = [path for path in files if path.suffix == ".py" and "tests" not in path.parts]
    lengths = [found for path in package for found in functions(path)]
    assert lengths
    assert [found for found in lengths if found[1] > LONGEST_FUNCTION] == []


def test_every_module_says_what_it_is_for(files: list[Path]) -> None:
    package = [path for path in files if path.is_relative_to(ROOT / "qtapture")]
    modules = [path for path in package if path.suffix == ".py"]
    assert [shown(p) for p in modules if not ast.get_docstring(ast.parse(p.read_text()))] == []


def test_every_fixture_is_described(files: list[Path]) -> None:
    folder = ROOT / "fixtures"
    inside = [path for path in files if path.is_relative_to(folder)]
    described = {path.parent for path in inside if path.name == "README.md"}
    fixtures = [path for path in inside if path.name != "README.md"]
    for path in fixtures:
        above = [parent for parent in path.parents if parent in described]
        assert above, f"{shown(path)} has no README.md beside or above it"
        words = "".join((parent / "README.md").read_text() for parent in above)
        names = {path.name, path.relative_to(folder).parts[0]}
        assert any(name in words for name in names), f"{shown(path)} is not described"


def test_scripts_can_be_run(files: list[Path]) -> None:
    scripts = [path for path in files if path.read_bytes().startswith(b"#!")]
    assert scripts
    assert [shown(path) for path in scripts if not path.stat().st_mode & 0o100] == []
