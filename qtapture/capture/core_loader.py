"""The probes by libbpf: an object compiled ahead, whose field offsets libbpf fills in (CO-RE).

Needs no compiler on the host. libbpf loads all programs of an object or none, so a program that
the verifier refuses is left out and the rest is loaded again.
"""

import ctypes
import os
from collections.abc import Mapping
from typing import Any

from qtapture import resources
from qtapture.capture.bpf import EXPECT_UPROBE_MULTI
from qtapture.capture.features import Means, Without
from qtapture.capture.header_tree import target_arch
from qtapture.capture.libbpf import open_libbpf
from qtapture.capture.loader import Loaded
from qtapture.capture.programs import PROGRAMS, programs_for
from qtapture.errors import HostError

__all__ = ["load_with_core", "object_name"]

_LOG_SIZE = 64 << 10  # the end of a log has the reason; the verifier keeps the end
_LOG_TAIL = 2000
# (function, result, arguments) of what is called; pointers are opaque.
_P = ctypes.c_void_p
_SIGNATURES: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    ("bpf_object__open_mem", _P, (_P, ctypes.c_size_t, _P)),
    ("bpf_object__close", None, (_P,)),
    ("bpf_object__load", ctypes.c_int, (_P,)),
    ("bpf_object__next_program", _P, (_P, _P)),
    ("bpf_object__next_map", _P, (_P, _P)),
    ("bpf_program__name", ctypes.c_char_p, (_P,)),
    ("bpf_program__fd", ctypes.c_int, (_P,)),
    ("bpf_program__set_autoload", ctypes.c_int, (_P, ctypes.c_bool)),
    ("bpf_program__set_expected_attach_type", ctypes.c_int, (_P, ctypes.c_int)),
    ("bpf_program__set_log_buf", ctypes.c_int, (_P, _P, ctypes.c_size_t)),
    ("bpf_map__name", ctypes.c_char_p, (_P,)),
    ("bpf_map__fd", ctypes.c_int, (_P,)),
    ("bpf_map__set_initial_value", ctypes.c_int, (_P, _P, ctypes.c_size_t)),
)


def object_name(means: Means) -> str:
    """The file in bpf/objects for this machine and kernel."""
    old = "-old" if means.without & Without.ATOMICS else ""
    return f"qtapture.{target_arch()}{old}.bpf.o"


def load_with_core(means: Means) -> Loaded:
    """Load everything that these means want.

    Raises:
        HostError: no libbpf, no object for this machine, or maps that the kernel refuses.
    """
    name = object_name(means)
    try:
        content = (resources.folder("bpf") / "objects" / name).read_bytes()
    except FileNotFoundError:
        raise HostError(f"bpf/objects/{name} is missing from this installation") from None
    lib = open_libbpf()
    for function, result, arguments in _SIGNATURES:
        getattr(lib, function).restype = result
        getattr(lib, function).argtypes = list(arguments)
    refused: dict[str, str] = {}
    while True:
        attempt = _Object(lib, content, means, refused)
        number = attempt.load()
        if number == 0:
            return Loaded(
                loader="core", programs=attempt.programs(), maps=attempt.maps(), refused=refused
            )
        logs = attempt.logs()
        attempt.close()
        if not logs:
            raise HostError(f"libbpf cannot load the probes: {os.strerror(number)}")
        refused.update(logs)


class _Object:
    """One attempt: an object can be loaded once."""

    def __init__(self, lib: Any, content: bytes, means: Means, refused: Mapping[str, str]) -> None:
        self._lib = lib
        self._content = content  # libbpf keeps no copy
        self._object = lib.bpf_object__open_mem(content, len(content), None)
        if not self._object:
            raise HostError("libbpf cannot read the object that the probes are in")
        self._programs = self._named("program")
        self._maps = self._named("map")
        self._logs: dict[str, Any] = {}
        wanted = programs_for(means.hooks).keys() - refused.keys()
        for name, program in self._programs.items():
            self._prepare(name, program, wanted=name in wanted, means=means)
        self._set_without(means.without)

    def load(self) -> int:
        """0, or an errno."""
        return -int(self._lib.bpf_object__load(self._object))

    def close(self) -> None:
        self._lib.bpf_object__close(self._object)

    def logs(self) -> dict[str, str]:
        """What the verifier said of the program that it refused."""
        said = {name: log.value.decode("utf-8", "replace") for name, log in self._logs.items()}
        return {name: text[-_LOG_TAIL:] for name, text in said.items() if text}

    def programs(self) -> dict[str, int]:
        """Descriptors; they live until this process ends."""
        found = {n: int(self._lib.bpf_program__fd(p)) for n, p in self._programs.items()}
        return {name: number for name, number in found.items() if number >= 0}

    def maps(self) -> dict[str, int]:
        return {n: int(self._lib.bpf_map__fd(m)) for n, m in self._maps.items() if "." not in n}

    def _prepare(self, name: str, program: int, *, wanted: bool, means: Means) -> None:
        self._lib.bpf_program__set_autoload(program, wanted)
        if not wanted:
            return
        if PROGRAMS[name].kind == "uprobe" and means.attach == "multi":
            self._lib.bpf_program__set_expected_attach_type(program, EXPECT_UPROBE_MULTI)
        log = ctypes.create_string_buffer(_LOG_SIZE)
        self._lib.bpf_program__set_log_buf(program, log, _LOG_SIZE)
        self._logs[name] = log

    def _set_without(self, without: Without) -> None:
        """The constants of the program, before the verifier sees it: dead branches go."""
        value = ctypes.c_uint32(int(without))
        for name, section in self._maps.items():
            if name.endswith(".rodata"):
                self._lib.bpf_map__set_initial_value(section, ctypes.byref(value), 4)

    def _named(self, what: str) -> dict[str, int]:
        step = getattr(self._lib, f"bpf_object__next_{what}")
        name = getattr(self._lib, f"bpf_{what}__name")
        found: dict[str, int] = {}
        at = step(self._object, None)
        while at:
            found[name(at).decode()] = at
            at = step(self._object, at)
        return found
