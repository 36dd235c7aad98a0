"""Other kernels, booted under QEMU: each records one HTTPS exchange in every way that it has.

Run by `make test-kernels`, which fetches the kernels; `make test` leaves this folder out.
"""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from kernels.table import SUITES, WAYS, written

ROOT = Path(__file__).parents[2]
_SECONDS = 900  # an emulated machine compiles the probes three times


@cache
def results(suite: str) -> dict[str, Any]:
    """What a guest of one suite wrote, once for all tests."""
    folder = ROOT / "build" / "kernels" / suite / "out"
    command = [ROOT / "scripts" / "guest", suite, folder]
    inside = ".venv/bin/python tests/kernels/inside.py /mnt/results.json"
    subprocess.run([*command, inside], check=True, cwd=ROOT, timeout=_SECONDS)
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("suite", SUITES)
def test_the_exchange_is_recorded_whole(suite: str, way: str) -> None:
    row = results(suite)["ways"][way]
    assert row["status"] == 0, row
    assert row["refused"] == {}
    assert row["exchanges"] == [["GET", 200, True]]
    assert row["verdicts"] == [{"verdict": "complete", "reasons": []}]


@pytest.mark.parametrize("suite", SUITES)
def test_a_way_that_was_asked_for_was_taken(suite: str) -> None:
    ways = results(suite)["ways"]
    for way, row in ways.items():
        loader, _, rest = way.partition(", ")
        assert row["loader"] == loader
        assert rest not in {"perf", "syscalls"} or rest in {row["attach"], row["hooks"]}


@pytest.mark.parametrize("suite", SUITES)
def test_tls_in_the_kernel_is_accounted_for(suite: str) -> None:
    row = results(suite)["ktls"]
    if row.get("absent"):
        pytest.skip("this kernel's package has no tls.ko")
    assert row["status"] == 0, row
    used = dict(zip(row["tls_stat"][::2], row["tls_stat"][1::2], strict=True))
    assert used["TlsTxSw"] == used["TlsRxSw"] == "2"
    assert row["exchanges"] == [["GET", 200, True]]
    # The kernel's own counts are of records, and so larger than what was said.
    assert row["verdicts"] == [{"verdict": "partial", "reasons": ["no_payload_seen"]}]


def test_the_table_in_the_documentation_is_what_came_out() -> None:
    text = (ROOT / "docs" / "kernel-support.md").read_text()
    assert written({suite: results(suite) for suite in SUITES}) in text
