"""The door to libbpf, by ctypes: its BTF reader and its CO-RE loader are not written twice.

The distribution's libbpf.so.1 where there is one, else the copy that the wheel carries.
"""

import ctypes
from pathlib import Path
from typing import Any

from qtapture.errors import HostError

__all__ = ["open_libbpf"]

_CARRIED = Path(__file__).resolve().parent.parent / "_libs" / "libbpf.so.1"


def open_libbpf() -> Any:
    """The library; its messages are silenced, for errors are read from the calls.

    Raises:
        HostError: there is none.
    """
    for name in ("libbpf.so.1", str(_CARRIED)):
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        library.libbpf_set_print(None)
        return library
    raise HostError("libbpf.so.1 is missing (Debian: apt install libbpf1)")
