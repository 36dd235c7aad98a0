"""Deciding on files: once each, every refusal for itself."""

import errno
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from qtapture.capture import discovery as module
from qtapture.capture.attach_points import FUNCTIONS
from qtapture.capture.discovery import Discovery
from qtapture.capture.elf import ElfFacts
from qtapture.capture.mappings import MappedFile
from qtapture.capture.parser_child import parse
from qtapture.capture.parsing import FAILED, Parsed

PROGRAMS = {
    "on_ssl_return": 0,
    "on_ssl_free": 1,
    "on_ssl_handshake": 2,
    "on_ssl_read": 3,
    "on_ssl_write": 4,
    "on_ssl_read_ex": 5,
    "on_ssl_write_ex": 6,
    "on_bio_write": 7,
    "on_link_map": 8,
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library with every function that has a probe."""
    source = tmp_path / "made.c"
    names = [name for name in FUNCTIONS if name != "_dl_debug_state"]
    bodies = [f"int {name}(int a) {{ return a * {n + 2}; }}\n" for n, name in enumerate(names)]
    source.write_text("".join(bodies))
    out = tmp_path / "libmade.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,--build-id", "-o", out, source], check=True)
    return out


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[int, int, bool]]]:
    """Replaces the kernel: notes what is attached, refuses what it is told to."""

    def use(refused: frozenset[int] = frozenset()) -> list[tuple[int, int, bool]]:
        made: list[tuple[int, int, bool]] = []

        def attach(
            kind: str,
            program: int,
            path: str,
            offsets: Sequence[int],
            cookie: int,
            *,
            at_return: bool,
        ) -> list[int]:
            assert kind == "multi"
            assert path.startswith("/proc/self/fd/")
            if refused & set(offsets):
                raise OSError(errno.EINVAL, "Invalid argument")
            made.extend((program, offset, at_return) for offset in offsets)
            return [os.open(os.devnull, os.O_RDONLY)]

        monkeypatch.setattr(module, "attach_uprobes", attach)
        return made

    return use


def mapped(path: Path, device: int = 1) -> MappedFile:
    """As /proc/PID/maps of a process would show it."""
    key = (device, path.stat().st_ino)
    return MappedFile(pid=os.getpid(), start=0, end=0, key=key, path=str(path))


def test_a_library_is_hooked_at_every_function(library: Path, attached) -> None:
    made = attached()
    found = Discovery(parse)
    found.arm(PROGRAMS, linker=False, attach="multi")
    attachment = found.decide(mapped(library))
    assert attachment is not None
    assert attachment.problems == []
    returns = [offset for _, offset, at_return in made if at_return]
    assert len(returns) == 7
    assert attachment.described()["hooked"] is True
    found.close()


def test_what_is_found_before_the_probes_are_loaded_is_hooked_when_they_are(
    library: Path, attached
) -> None:
    made = attached()
    found = Discovery(parse)
    found.decide(mapped(library))
    assert made == []
    found.arm(PROGRAMS, linker=False, attach="multi")
    assert made
    found.close()


def test_a_refused_group_is_split_and_costs_one_point_alone(library: Path, attached) -> None:
    attached()
    probe = Discovery(parse)
    functions = probe.decide(mapped(library)).facts.functions
    probe.close()
    made = attached(frozenset({functions["SSL_connect"]}))
    found = Discovery(parse)
    found.arm(PROGRAMS, linker=False, attach="multi")
    attachment = found.decide(mapped(library))
    returns = {offset for _, offset, at_return in made if at_return}
    assert functions["SSL_write"] in returns
    assert functions["SSL_connect"] not in returns
    assert {problem.partition(":")[0] for problem in attachment.problems} == {
        f"on_ssl_return at {functions['SSL_connect']:#x}",
        f"on_ssl_handshake at {functions['SSL_connect']:#x}",
    }
    assert attachment.described()["hooked"] is True
    found.close()


def test_a_program_that_the_kernel_refused_is_named(library: Path, attached) -> None:
    attached()
    found = Discovery(parse)
    found.arm(
        {k: v for k, v in PROGRAMS.items() if k != "on_bio_write"}, linker=False, attach="multi"
    )
    attachment = found.decide(mapped(library))
    assert attachment.problems == ["on_bio_write was refused by the kernel"]
    found.close()


def test_one_file_under_two_devices_is_hooked_once(library: Path, attached) -> None:
    made = attached()
    found = Discovery(parse)
    found.arm(PROGRAMS, linker=False, attach="multi")
    first = found.decide(mapped(library, device=1))
    count = len(made)
    assert found.decide(mapped(library, device=2)) is first
    assert len(made) == count
    found.close()


def test_a_file_that_nobody_can_open_any_more_stays_undecided(tmp_path: Path, attached) -> None:
    attached()
    found = Discovery(parse)
    gone = MappedFile(pid=os.getpid(), start=0, end=0, key=(1, 2), path=str(tmp_path / "gone"))
    assert found.decide(gone) is None
    assert not found.is_decided((1, 2))


def test_a_file_without_points_is_decided_and_forgotten(attached) -> None:
    made = attached()
    found = Discovery(parse)
    found.arm(PROGRAMS, linker=False, attach="multi")
    plain = mapped(Path("/bin/true"))
    assert found.decide(plain) is None
    assert found.is_decided(plain.key)
    assert made == []
    assert found.new == []


def test_a_file_on_which_the_parser_failed_is_told_as_such(library: Path, attached) -> None:
    attached()
    found = Discovery(lambda _: Parsed(facts=ElfFacts(detail=FAILED)))
    found.arm(PROGRAMS, linker=False, attach="multi")
    attachment = found.decide(mapped(library))
    assert found.new == [attachment]
    assert attachment.tls
    described = attachment.described()
    assert described["hooked"] is False
    assert described["detail"] == "the parser failed on it"
