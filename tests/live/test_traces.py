"""What a recording leaves in the programs that it observed: nothing."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from builders.recording import Recording, record_command, run, wait_until

from qtapture.capture.attach_points import FAMILIES
from qtapture.capture.elf import read_code, read_elf
from qtapture.capture.mappings import iter_mappings
from qtapture.capture.sites import plan_site

INT3 = b"\xcc"  # what a uprobe puts in place of an instruction


@pytest.fixture(params=["auto", "exported"])
def probed(request: pytest.FixtureRequest) -> tuple[tuple[str, str], Callable[[], bytes]]:
    """Options, and what stands where SSL_write is then probed, in this very process."""
    function = ctypes.cast(ctypes.CDLL("libssl.so.3").SSL_write, ctypes.c_void_p).value
    path = next(m.path for m in iter_mappings(os.getpid()) if "libssl.so.3" in m.path)
    family = next(family for family in FAMILIES if family.plain == "SSL_write")
    with Path(path).open("rb") as file:
        exported = read_elf(file, ["SSL_write"]).functions["SSL_write"]
        code = read_code(file, family.names)
        site = plan_site(code, family)
    away = site.offsets[0] - exported if request.param == "auto" else 0
    return ("--sites", request.param), lambda: ctypes.string_at(function + away, 1)


def test_the_breakpoint_goes_when_the_recording_ends(tmp_path: Path, probed) -> None:
    options, byte = probed
    before = byte()
    assert before != INT3
    with Recording(tmp_path / "a.qtap", options) as recording:
        assert byte() == INT3
        recording.stop()
    assert byte() == before


def test_the_breakpoint_goes_when_the_recorder_is_killed(tmp_path: Path, probed) -> None:
    options, byte = probed
    before = byte()
    with Recording(tmp_path / "a.qtap", options) as recording:
        assert byte() == INT3
        recording.process.kill()
        recording.process.wait()
        wait_until(lambda: byte() == before, "the kernel takes the probe out")


def test_none_of_our_processes_outlives_a_killed_recorder(tmp_path: Path) -> None:
    with Recording(tmp_path / "a.qtap") as recording:
        pid = recording.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert children
        recording.process.kill()
        recording.process.wait()
        wait_until(lambda: not any(map(runs_ours, children)), "its helpers end")


def runs_ours(pid: str) -> bool:
    """Whether a process of this number still runs a module of the package."""
    try:
        return b"qtapture.capture" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_command_that_stood_still_goes_on_when_the_recorder_is_killed(tmp_path: Path) -> None:
    marker = tmp_path / "up"
    script = f"import ssl, pathlib; pathlib.Path({str(marker)!r}).touch()"
    for delay_ms in range(0, 60, 6):
        marker.unlink(missing_ok=True)
        options = ("--force", "--", "/usr/bin/python3", "-c", script)
        with Recording(tmp_path / "a.qtap", options) as recording:
            time.sleep(delay_ms / 1000)
            recording.process.kill()
            wait_until(marker.exists, f"the command runs to its end after {delay_ms} ms")


def test_a_shell_on_a_terminal_does_not_take_its_children_for_suspended(tmp_path: Path) -> None:
    # script(1) gives bash a terminal; its job control would report "Stopped".
    session = tmp_path / "a.qtap"
    inner = 'bash --norc -i <<< "curl --version | head -1; exit" 2>&1'
    result = record_command(
        tmp_path, "script", "-qec", f"bash --norc -i -c {inner!r}", "/dev/null", options=()
    )
    assert "Stopped" not in result.stdout
    assert "curl" in result.stdout
    assert not session.exists()


def test_a_command_is_not_slowed_by_more_than_the_stops_it_needs(tmp_path: Path) -> None:
    # No measurement: two hundred processes of known files must not stand still each time.
    script = "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done; echo done"
    result = record_command(tmp_path, "/bin/sh", "-c", script)
    assert result.stdout == "done\n"
    assert result.status == 0


def test_nothing_is_left_in_the_folder_for_headers(tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("qtapture-headers-*"))
    subprocess.run(["true"], check=True)
    record_command(tmp_path, "/bin/true")
    assert set(Path("/tmp").glob("qtapture-headers-*")) <= before


def child_that_runs(recorder: int, module: bytes) -> int:
    """The helper of a recorder that runs a module of ours."""
    children = Path(f"/proc/{recorder}/task/{recorder}/children").read_text().split()
    return next(int(pid) for pid in children if module in Path(f"/proc/{pid}/cmdline").read_bytes())


def test_the_guardian_continues_whoever_the_attacher_leaves_standing(tmp_path: Path) -> None:
    copy = tmp_path / "true"
    copy.write_bytes(Path("/bin/true").read_bytes())  # a file that nobody has decided on
    copy.chmod(0o755)
    options = ("--", "/bin/sh", "-c", f"sleep 1; {copy} && touch {tmp_path}/up; exec sleep 30")
    with Recording(tmp_path / "a.qtap", options) as recording:
        attacher = child_that_runs(recording.process.pid, b"attacher_child")
        os.kill(attacher, signal.SIGSTOP)
        wait_until((tmp_path / "up").exists, "the guardian lets it go on")
        os.kill(attacher, signal.SIGCONT)
        recorded = recording.stop(signal.SIGTERM)
    assert recorded.status == 128 + signal.SIGTERM
    run("verify", recorded.session)


def test_losing_the_attacher_ends_the_recording_with_a_word_and_a_status(tmp_path: Path) -> None:
    with Recording(tmp_path / "a.qtap") as recording:
        os.kill(child_that_runs(recording.process.pid, b"attacher_child"), signal.SIGKILL)
        recorded = recording.end()
    assert recorded.status == 1
    assert "ended by probes lost" in recorded.stderr
    run("verify", recorded.session)
