"""Libraries are found by what processes have mapped, wherever that lies and whenever it comes."""

import json
import os
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builders.clients import SYSTEM_PYTHON, curl
from builders.nginx import Nginx
from builders.recording import Recording, record_command, run
from builders.replays import exchanges

# Waits for lines on standard input: "map" loads the library, "get" speaks over it.
_PUPPET = """
    import sys
    ca, port = sys.argv[1:]

    def get():
        import http.client, ssl
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection("localhost", int(port), context=context)
        connection.request("GET", "/one.bin")
        return len(connection.getresponse().read())

    for line in sys.stdin:
        if line.strip() == "map":
            import ssl
            print("mapped", flush=True)
        else:
            print("got", get(), flush=True)
"""


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A folder with a libssl and libcrypto of its own, hence inodes of their own."""
    folder = tmp_path / "odd place"
    folder.mkdir()
    for name in ("libssl.so.3", "libcrypto.so.3"):
        shutil.copy(_library(name), folder / name)
    return folder


def _library(name: str) -> Path:
    lines = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    return Path(next(line.split()[-1] for line in lines.splitlines() if f"{name} " in line))


@contextmanager
def puppet(folder: Path, nginx: Nginx, copies: Path) -> Iterator["Puppet"]:
    """A Python that does one thing for each line."""
    script = folder / "puppet.py"
    script.write_text(textwrap.dedent(_PUPPET))
    process = subprocess.Popen(
        [SYSTEM_PYTHON, script, nginx.certificate.path, str(nginx.https)],
        env={**os.environ, "LD_LIBRARY_PATH": str(copies)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Puppet(process)
        process.stdin.close()
        process.wait(20)


class Puppet:
    """Says a word, waits for the answer."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def do(self, word: str) -> str:
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def hooked(session: Path) -> list[str]:
    """Paths of the TLS libraries that were hooked."""
    libraries = json.loads(run("info", "--json", session))["libraries"]
    return [row["path"] for row in libraries if row["hooked"] and "libssl" in row["path"]]


def test_a_copy_at_an_odd_place_is_hooked_before_it_is_used(
    nginx: Nginx, tmp_path: Path, copies: Path
) -> None:
    client = ["env", f"LD_LIBRARY_PATH={copies}", *curl(nginx.certificate.path)]
    result = record_command(tmp_path, *client, nginx.url("one.bin"))
    assert [seen.target for seen in exchanges(result.session)] == ["/one.bin"]
    assert any(str(copies) in path for path in hooked(result.session))


def test_a_library_that_was_deleted_under_a_running_process_is_hooked(
    nginx: Nginx, tmp_path: Path, copies: Path
) -> None:
    with puppet(tmp_path, nginx, copies) as client:
        assert client.do("map") == "mapped"
        shutil.rmtree(copies)
        with Recording(tmp_path / "deleted.qtap") as recording:
            assert client.do("get") == "got 1"
            recorded = recording.stop()
    mine = [seen for seen in exchanges(recorded.session) if seen.client == "python3"]
    assert [seen.target for seen in mine] == ["/one.bin"]
    assert any("(deleted)" in path for path in hooked(recorded.session))


def test_a_library_that_a_running_process_maps_later_is_hooked_as_soon_as_it_is_seen(
    nginx: Nginx, tmp_path: Path, copies: Path
) -> None:
    with (
        puppet(tmp_path, nginx, copies) as client,
        Recording(tmp_path / "later.qtap") as recording,
    ):
        assert client.do("map") == "mapped"
        assert client.do("get") == "got 1"
        recorded = recording.stop()
    mine = [seen for seen in exchanges(recorded.session) if seen.client == "python3"]
    assert [seen.target for seen in mine] == ["/one.bin"]
    assert any(str(copies) in path for path in hooked(recorded.session))


def test_the_same_file_is_hooked_once_however_many_map_it(
    nginx: Nginx, tmp_path: Path, copies: Path
) -> None:
    client = " ".join(map(str, curl(nginx.certificate.path, nginx.url("one.bin"))))
    script = f"export LD_LIBRARY_PATH='{copies}'; for i in 1 2 3; do {client}; done"
    result = record_command(tmp_path, "/bin/sh", "-c", script)
    assert sum(str(copies) in path for path in hooked(result.session)) == 1
    assert len(exchanges(result.session)) == 3
