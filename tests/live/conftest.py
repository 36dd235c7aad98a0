"""Live tests record real programs: they need root and a kernel that lets probes in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.nginx import Nginx
from builders.recording import is_root


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder; without root its tests cannot run."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("live")
            if not is_root():
                item.add_marker(pytest.mark.skip(reason="recording needs root"))


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """A server with a few files."""
    server = Nginx.prepare(tmp_path / "nginx")
    server.serve("one.bin", b"x")
    server.serve("page.txt", b"a page\n" * 100)
    with server:
        yield server
