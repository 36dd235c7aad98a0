"""The child that compiles and loads the probes with bcc, hands over descriptors, and ends.

Run as ``python -m qtapture.capture.loader_child FD``: FD is a socket of the recorder's.
bcc brings 120 MB of LLVM into a process and changes its working folder while it compiles; here
both end with the child (docs/architecture.md).
"""

import array
import importlib.util
import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from qtapture import resources
from qtapture.capture.btf import field_offsets
from qtapture.capture.dialect import (
    PROGRAMS,
    Program,
    amalgamated,
    expanded,
    fields_used,
    map_names,
    offsets_header,
)
from qtapture.capture.header_tree import target_arch, write_header_tree
from qtapture.errors import HostError

__all__ = ["main"]

# Where distributions put it: a virtual environment does not see their packages.
_BCC_FOLDERS = ("/usr/lib/python3/dist-packages/bcc", "/usr/lib/python3/site-packages/bcc")
_TRACE_UPROBE_MULTI = 48  # BPF_TRACE_UPROBE_MULTI, Linux 6.6
_LOG_TAIL = 2000  # of a verifier's log: the reason stands at the end


def main(descriptor: int) -> None:
    """Load everything and send it; what goes wrong is sent as a line for a person."""
    with socket.socket(fileno=descriptor) as peer:
        try:
            answer, descriptors = _load()
        except HostError as error:
            answer, descriptors = {"error": str(error)}, []
        except Exception as error:  # noqa: BLE001 - bcc raises bare exceptions
            answer, descriptors = {"error": f"bcc cannot compile the probes: {error}"}, []
        body = json.dumps(answer).encode()
        peer.sendall(len(body).to_bytes(4, "little"))
        rights = array.array("i", descriptors)
        sent = peer.sendmsg([body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        peer.sendall(body[sent:])
    # bcc's own clean-up at exit fails without tracefs, and takes time.
    os._exit(0)


def _load() -> tuple[dict[str, Any], list[int]]:
    text = amalgamated("qtapture.bpf.c", lambda name: _source(name).read_text("utf-8"))
    offsets = field_offsets(sorted(fields_used(text)))
    bcc = _import_bcc()
    tree = Path(tempfile.mkdtemp(prefix="qtapture-headers-"))  # mkdtemp makes it 0700
    try:
        write_header_tree(tree, offsets_header(offsets))
        os.environ["BCC_KERNEL_SOURCE"] = str(tree)
        flags = ["-DQT_BCC", f"-D__TARGET_ARCH_{target_arch()}", "-Wno-macro-redefined"]
        module = bcc.BPF(text=expanded(text), cflags=flags)
    finally:
        shutil.rmtree(tree)
    programs, refused = _programs(bcc, module)
    maps = {name: module[name].get_fd() for name in map_names(text)}
    answer = {"programs": list(programs), "maps": list(maps), "refused": refused}
    return answer, [*programs.values(), *maps.values()]


def _source(name: str) -> Path:
    return Path(resources.folder("bpf")) / name


def _programs(bcc: ModuleType, module: Any) -> tuple[dict[str, int], dict[str, str]]:
    """Descriptors of the programs that the verifier took, and why it refused the others."""
    loaded: dict[str, int] = {}
    refused: dict[str, str] = {}
    for name, program in PROGRAMS.items():
        try:
            loaded[name] = _load_one(bcc, module, name, program)
        except Exception as error:  # noqa: BLE001 - bcc raises bare exceptions
            refused[name] = str(error)[-_LOG_TAIL:]
    return loaded, refused


def _load_one(bcc: ModuleType, module: Any, name: str, program: Program) -> int:
    if program.kind == "raw_tp":
        return int(module.load_func(name, bcc.BPF.RAW_TRACEPOINT).fd)
    return int(module.load_func(name, bcc.BPF.KPROBE, None, _TRACE_UPROBE_MULTI).fd)


def _import_bcc() -> ModuleType:
    """The distribution's bcc, without putting its whole folder of packages on the path.

    PyPI's ``bcc`` is another program altogether: it is never imported by name.
    """
    for folder in _BCC_FOLDERS:
        init = Path(folder) / "__init__.py"
        if not init.exists():
            continue
        spec = importlib.util.spec_from_file_location(
            "bcc", init, submodule_search_locations=[folder]
        )
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        sys.modules["bcc"] = module
        spec.loader.exec_module(module)
        return module
    raise HostError("bcc is missing (Debian: apt install python3-bpfcc; never PyPI's bcc)")


if __name__ == "__main__":
    main(int(sys.argv[1]))
