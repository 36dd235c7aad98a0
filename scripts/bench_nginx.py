"""nginx at full speed, recorded and not: its rate, and processor time for each request.

One worker on one processor, wrk on another, keep-alive; medians of paired runs. Beside it: empty
programs at the same places (what no recorder can do without), the exported functions alone, and
eCapture where ECAPTURE names its binary.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from builders.nginx import Nginx
from builders.recording import Recording

from qtapture.capture.attach_points import FAMILIES, plan_links
from qtapture.capture.bpf import EXPECT_UPROBE_MULTI, load_program
from qtapture.capture.mappings import iter_mappings, maybe_open
from qtapture.capture.parser_child import parse
from qtapture.capture.uprobes import attach_uprobes

ROUNDS = 3
SECONDS = 4
SIZES = {"1 KiB": 1 << 10, "96 KiB": 96 << 10}
_TICK = os.sysconf("SC_CLK_TCK")
_KPROBE = 2
_RETURN_0 = bytes.fromhex("b7000000000000009500000000000000")

Way = Callable[[Path, int], AbstractContextManager[int | None]]


def main() -> None:
    """Print one line for each size and way."""
    with tempfile.TemporaryDirectory(prefix="qtapture-bench-") as name:
        folder = Path(name)
        server = Nginx.prepare(folder / "nginx")
        for size in SIZES.values():
            server.serve(f"{size}.bin", os.urandom(size))
        with server:
            os.sched_setaffinity(server.worker(), {0})
            for label, size in SIZES.items():
                for way, start in ways().items():
                    compare(server, folder, f"{label}, {way}", size, start)


def ways() -> dict[str, Way]:
    """What runs beside nginx."""
    found: dict[str, Way] = {
        "empty programs": empty_programs,
        "qtapture": lambda folder, _: recorded(folder),
        "qtapture, exported sites": lambda folder, _: recorded(folder, "--sites", "exported"),
    }
    if os.environ.get("ECAPTURE"):
        found["eCapture"] = ecapture
    return found


def compare(server: Nginx, folder: Path, label: str, size: int, start: Way) -> None:
    """Pairs of runs without and with; the medians of their ratios and costs."""
    ratios, costs, ours = [], [], []
    for _ in range(ROUNDS):
        without, _ = run_wrk(server, size)
        with start(folder, server.worker()) as recorder:
            before = used(recorder)
            within, cost = run_wrk(server, size)
            ours.append((used(recorder) - before) / (within * SECONDS) * 1e6)
        ratios.append(within / without)
        costs.append(cost)
    middle = statistics.median
    print(
        f"nginx {label:34} {middle(ratios):5.2f} of its rate, "
        f"{middle(costs):6.1f} us of its processor a request, {middle(ours):5.1f} us of ours",
        flush=True,
    )


def run_wrk(server: Nginx, size: int) -> tuple[float, float]:
    """Requests in a second, and microseconds of the worker's processor for one."""
    before = used(server.worker())
    url = server.url(f"{size}.bin").replace("localhost", "127.0.0.1")
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c8", f"-d{SECONDS}", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = float(text.partition("Requests/sec:")[2].split()[0])
    return rate, (used(server.worker()) - before) / (rate * SECONDS) * 1e6


def used(pid: int | None) -> float:
    """Processor seconds of a process so far."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@contextmanager
def recorded(folder: Path, *options: str) -> Iterator[int]:
    """A recording of nginx."""
    session = folder / "a.qtap"
    with Recording(session, ("--force", "--comm", "nginx", *options)) as recording:
        yield recording.process.pid
        said = recording.stop().stderr
    print("  " + next(line for line in said.splitlines() if line.startswith("recorded")))


@contextmanager
def empty_programs(_: Path, worker: int) -> Iterator[None]:
    """Programs that do nothing, where a recording has its own."""
    program = load_program(_KPROBE, _RETURN_0, expected=EXPECT_UPROBE_MULTI)
    links: list[int] = []
    for found in iter_mappings(worker):
        file = maybe_open(found)
        if file is None:
            continue
        with file:
            parsed = parse(file)
            functions = parsed.facts.functions
            if not any(family.plain in functions for family in FAMILIES):
                continue
            path = f"/proc/self/fd/{file.fileno()}"
            for plan in plan_links(functions, linker=False, sites=parsed.sites):
                links += attach_uprobes(
                    "multi", program, path, plan.offsets, 0, at_return=plan.at_return
                )
    yield None
    for descriptor in (*links, program):
        os.close(descriptor)


@contextmanager
def ecapture(folder: Path, worker: int) -> Iterator[int]:
    """eCapture in text mode, at that worker."""
    command = [os.environ["ECAPTURE"], "tls", "-m", "text", "--pid", str(worker)]
    with (
        (folder / "ecapture.txt").open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out) as process,
    ):
        time.sleep(3)
        yield process.pid
        process.send_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
