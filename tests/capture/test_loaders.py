"""A program that the verifier refuses costs itself alone, whoever loads it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders.recording import SOURCE, is_root

pytestmark = pytest.mark.skipif(not is_root(), reason="loading programs needs root")

# In a process of its own, for what is loaded lives as long as that.
_LOAD = """
import json, sys
from pathlib import Path
from qtapture import resources
from qtapture.capture.bcc_loader import load_with_bcc
from qtapture.capture.core_loader import load_with_core
from qtapture.capture.features import Means
resources.folder = lambda name: Path(sys.argv[2])
load = {"bcc": load_with_bcc, "core": load_with_core}[sys.argv[1]]
loaded = load(Means(loader=sys.argv[1]))
print(json.dumps([sorted(loaded.programs), dict(loaded.refused)]))
sys.stdout.flush()
import os; os._exit(0)
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The source, where one program writes past its stack."""
    folder = tmp_path / "bpf"
    shutil.copytree(SOURCE / "bpf", folder)
    header = folder / "openssl.h"
    text = header.read_text()
    place = "	if (!o->port_out) {\n"
    assert text.count(place) == 1
    header.write_text(text.replace(place, place + "	bpf_probe_read_kernel(&key, 600, 0);\n"))
    return folder


def loaded(loader: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-c", _LOAD, loader, folder]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return tuple(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("loader", ["bcc", "core"])
def test_one_program_is_refused_with_its_log_and_the_others_are_there(
    broken: Path, loader: str
) -> None:
    if loader == "core":
        shutil.rmtree(broken / "objects")
        subprocess.run(
            [SOURCE / "scripts" / "objects", broken / "objects"],
            check=True,
            env={**os.environ, "BPF": str(broken)},
        )
    programs, refused = loaded(loader, broken)
    assert list(refused) == ["on_ssl_free"]
    assert "invalid" in refused["on_ssl_free"]
    assert "stack" in refused["on_ssl_free"]
    assert "on_ssl_free" not in programs
    assert {"on_exec", "on_ssl_return", "on_sock_send"} <= set(programs)


@pytest.mark.parametrize("loader", ["bcc", "core"])
def test_this_kernel_refuses_nothing_of_the_real_source(loader: str) -> None:
    programs, refused = loaded(loader, SOURCE / "bpf")
    assert refused == {}
    assert len(programs) > 15
