"""kill -9 at any moment: the file opens, and lacks nothing older than half a second."""

import random
import subprocess
import time
from pathlib import Path

import pytest
from builders.certificates import make_certificate
from builders.programs import tls_writer
from builders.recording import Recording
from builders.scale import scaled

from qtapture.analysis import open_analysis
from qtapture.events import Segment
from qtapture.session import verify_session
from qtapture.timebase import boottime_ns

PROMISED_NS = 500_000_000
SIZE = 200


@pytest.mark.parametrize("seed", range(scaled(20, 100)))
def test_a_killed_recording_is_readable_and_lacks_half_a_second_at_most(
    tmp_path: Path, seed: int
) -> None:
    program, certificate = tls_writer(tmp_path), make_certificate(tmp_path)
    path = tmp_path / "killed.qtap"
    with Recording(path, ("--comm", program.name)) as recording:
        writer = subprocess.Popen(
            [program, "40000", str(SIZE), "10000", certificate.path, certificate.key],
            stdout=subprocess.DEVNULL,
        )
        with writer:
            time.sleep(1 + random.Random(seed).random())
            killed_ns = boottime_ns()
            recording.process.kill()
            recording.process.wait()
            writer.kill()
    found = verify_session(path)
    assert found.state == "unclosed"
    assert {finding.code for finding in found.findings} <= {"truncated"}
    analysis = open_analysis(path)
    sent = [s for s in analysis.iter_traffic() if isinstance(s, Segment) and s.direction == 0]
    # Every write is where it belongs, up to the half second in which another CPU's ring may be
    # in the file before this one's.
    whole = 0
    while whole < len(sent) and sent[whole].offset == SIZE * whole:
        whole += 1
    assert sent[whole - 1].time_ns > killed_ns - PROMISED_NS
