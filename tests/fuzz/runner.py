"""Runs one target under atheris until its time is over; ends with an error if something fails.

usage: PYTHONPATH=tests python tests/fuzz/runner.py NAME SECONDS

What it learns stays in build/fuzz/NAME/corpus, what fails is written to build/fuzz/NAME/.
"""

import importlib
import sys
from pathlib import Path

import atheris

SEEDS = Path(__file__).parent / "corpus"
MADE = Path(__file__).parents[2] / "build" / "fuzz"
# Larger inputs reach nothing new, and slow everything down.
LONGEST = 16 << 10
# What an input may take before it counts as a failure: hostile files must not hold a recorder up.
SECONDS_EACH = 10
MEGABYTES = 1024


def main(name: str, seconds: int) -> None:
    """Run it; does not return."""
    corpus = MADE / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["qtapture", "elftools"]):
        target = importlib.import_module(f"fuzz.{name}")
    options = {
        "max_total_time": seconds,
        "max_len": LONGEST,
        "timeout": SECONDS_EACH,
        "rss_limit_mb": MEGABYTES,
        "artifact_prefix": f"{MADE / name}/",
        "verbosity": 1,
        "print_final_stats": 1,
    }
    words = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([name, *words, str(corpus), str(SEEDS / name)], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
