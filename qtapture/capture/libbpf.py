"""The door to libbpf, by ctypes: its BTF reader and its CO-RE loader are not written twice.

The distribution's libbpf.so.1 where there is one, else the copy that the wheel carries.
"""

import ctypes
from pathlib import Path
from typing import Any

from qtapture.errors import HostError

__all__ = ["open_libbpf"]

_CARRIED = Path(__file__).resolve().parent.parent / "_libs"


def open_libbpf() -> Any:
    """The library; its messages are silenced, for errors are read from the calls.

    Raises:
        HostError: there is none.
    """
    library = _maybe_load("libbpf.so.1") or _maybe_carried()
    if library is None:
        raise HostError("libbpf.so.1 is missing (Debian: apt install libbpf1)")
    library.libbpf_set_print(None)
    return library


def _maybe_carried() -> Any:
    # What libbpf needs is found by its name once it is loaded, wherever it came from.
    if _maybe_load("libelf.so.1") is None:
        _maybe_load(str(_CARRIED / "libelf.so.1"))
    return _maybe_load(str(_CARRIED / "libbpf.so.1"))


def _maybe_load(name: str) -> Any:
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL, use_errno=True)
    except OSError:
        return None
