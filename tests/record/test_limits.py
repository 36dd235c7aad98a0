"""What ends a recording by itself."""

import os
from pathlib import Path

from qtapture.record.limits import Limits, choose_max_size
from qtapture.timebase import boottime_ns


def test_time_and_size_end_it_and_are_named() -> None:
    past = Limits(end_ns=boottime_ns() - 1, max_size=0, disk=None)
    assert past.reached(0) == "duration"
    small = Limits(end_ns=None, max_size=100, disk=None)
    assert small.reached(99) is None
    assert small.reached(100) == "max-size"


def test_no_limit_is_never_reached() -> None:
    assert Limits(end_ns=None, max_size=0, disk=None).reached(1 << 50) is None


def test_the_default_is_4_gib_or_a_quarter_of_the_space(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        status = os.fstatvfs(file.fileno())
        quarter = status.f_bavail * status.f_frsize // 4
        assert choose_max_size(None, file.fileno()) <= min(4 << 30, quarter + (64 << 20))
    assert choose_max_size(500, None) == 500
    assert choose_max_size(None, None) == 0
