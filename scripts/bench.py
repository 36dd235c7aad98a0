"""Measurements that the documentation states: price of a probe, room and time that we take.

Ratios are of runs side by side on one host, medians of three; absolute numbers are that host's.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from builders.certificates import Certificate, make_certificate
from builders.programs import said_numbers, tls_writer
from builders.recording import Recording, resident_bytes, run

ROUNDS = 3
MIB = 1 << 20


def main() -> None:
    """Run everything, print one line for each thing measured."""
    with tempfile.TemporaryDirectory(prefix="qtapture-bench-") as name:
        folder = Path(name)
        program, certificate = tls_writer(folder), make_certificate(folder)
        measure_start(folder)
        measure_price(folder, program, certificate)
        session = measure_steady(folder, program, certificate)
        measure_replay(folder, session)


def measure_start(folder: Path) -> None:
    """Seconds until everything is hooked, and until everything is out again."""
    ready, stopped = [], []
    for number in range(ROUNDS):
        began = time.perf_counter()
        with Recording(folder / f"start-{number}.qtap") as recording:
            ready.append(time.perf_counter() - began)
            began = time.perf_counter()
            recording.stop()
            stopped.append(time.perf_counter() - began)
    say(
        "ready after",
        f"{statistics.median(ready):.2f} s",
        "from the command line to the first byte",
    )
    say("stopped after", f"{statistics.median(stopped):.2f} s", "file closed, probes out")


def measure_price(folder: Path, program: Path, certificate: Certificate) -> None:
    """What a TLS call costs its program, payload copied."""
    for size, count in ((200, 40_000), (16_384, 10_000)):
        argv = [program, count, size, 0, certificate.path, certificate.key]
        bare, recorded = [], []
        for _ in range(ROUNDS):
            bare.append(seconds_of(argv))
            with Recording(folder / "price.qtap", ("--force", "--comm", program.name)):
                recorded.append(seconds_of(argv))
        without, within = statistics.median(bare), statistics.median(recorded)
        price = (within - without) / count * 1e6
        rate = without / within
        say(f"TLS of {size} B", f"{price:.1f} us", "more for one SSL_write and its SSL_read")
        say(f"TLS of {size} B", f"{rate:.2f}", "of the rate without recording, one busy connection")


def measure_steady(folder: Path, program: Path, certificate: Certificate) -> Path:
    """Twenty thousand writes in a second for ten seconds: losses, memory, processor time."""
    session = folder / "steady.qtap"
    argv = (program, 200_000, 200, 20_000, certificate.path, certificate.key)
    with Recording(session, ("--", *argv)) as recording:
        peak, used = watch(recording)
        recording.end()
    rows = {row["kind"]: row for row in json.loads(run("info", "--json", session))["loss"]}
    lost = sum(row["lost"] + row["skipped"] for row in rows.values())
    say("20,000 writes/s, 10 s", f"{lost} lost", f"of {rows['tls']['submitted']:,} samples")
    say(
        "20,000 writes/s, 10 s",
        f"{peak / MIB:.0f} MiB",
        "resident in the recorder beside its rings",
    )
    say("20,000 writes/s, 10 s", f"{used / 10:.0%}", "of one processor in the recorder")
    say("20,000 writes/s, 10 s", f"{session.stat().st_size / MIB:.0f} MiB", "session file")
    return session


def watch(recording: Recording) -> tuple[int, float]:
    """Peak memory in bytes and processor seconds of the recorder until it ends."""
    peak = 0
    used = 0.0
    while recording.process.poll() is None:
        try:
            memory = resident_bytes(recording.process.pid)
            fields = Path(f"/proc/{recording.process.pid}/stat").read_text().split()
        except (OSError, KeyError):
            break
        peak = max(peak, memory["anon"] + memory["file"])
        used = max(used, (int(fields[13]) + int(fields[14])) / 100)
        time.sleep(0.1)
    return peak, used


def measure_replay(folder: Path, session: Path) -> None:
    """Rates of the offline side on the session of the steady load (200,000 small calls)."""
    samples = json.loads(run("info", "--json", session))["samples"]["total"]
    for kind in ("pcapng", "timeline", "streams"):
        out = folder / f"out.{kind}"
        took = timed(lambda kind=kind, out=out: run("export", kind, session, "-o", out))
        say(f"export {kind}", f"{samples / took:,.0f}", "samples in a second")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    say("exports", f"{peak:.0f} MiB", "largest process of all of the above")


def seconds_of(argv: list[object]) -> float:
    """Seconds that the writer itself counted."""
    result = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, check=True
    )
    return said_numbers(result.stdout)["seconds"]


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def say(what: str, value: str, meaning: str) -> None:
    """One line of the table."""
    print(f"{what:24} {value:>12}  {meaning}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
