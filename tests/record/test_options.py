"""What can be asked of a recording, and what is refused."""

import os
from pathlib import Path

import pytest

from qtapture.capture.kernel_config import Scope
from qtapture.errors import UsageError
from qtapture.record.options import RecordOptions, parse_duration, parse_size, parse_user


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), ("500ms", 0.5), ("5m", 300), ("1.5h", 5400)]
)
def test_a_duration_has_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds * 10**9


@pytest.mark.parametrize("text", ["", "0", "-5s", "5 parsecs", "s", "nan", "1e9", "0.0h"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("1k", 1024),
        ("500M", 500 << 20),
        ("4GiB", 4 << 30),
        ("2gb", 2 << 30),
    ],
)
def test_a_size_has_binary_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "4Q", "-1M"])
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)


def test_users_are_names_or_numbers() -> None:
    assert parse_user("root") == 0
    assert parse_user("4242") == 4242
    with pytest.raises(UsageError, match="no user nobody-of-this-name"):
        parse_user("nobody-of-this-name")


def test_an_unknown_pid_is_refused_before_anything_is_begun() -> None:
    options = RecordOptions(output=Path("x.qtap"), scope=Scope(pids=(2**22 + 1,)))
    with pytest.raises(UsageError, match="no process 4194305"):
        options.check()


def test_a_port_beyond_16_bits_is_refused() -> None:
    options = RecordOptions(output=Path("x.qtap"), scope=Scope(ports=(65_536,)))
    with pytest.raises(UsageError, match="65536 is no port"):
        options.check()


def test_a_living_process_is_accepted() -> None:
    RecordOptions(output=None, scope=Scope(pids=(os.getpid(),), ports=(443,))).check()


def test_naming_nobody_means_the_whole_host() -> None:
    assert Scope().whole_host
    assert Scope(ports=(443,)).whole_host
    assert not Scope(command=True).whole_host
    assert not Scope(uids=(0,)).whole_host
