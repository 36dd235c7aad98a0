"""The probes by bcc: compiled on this host, against ten generated files instead of headers.

Only in the loader child: bcc brings 120 MB of LLVM into a process and changes its working folder
while it compiles.
"""

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from qtapture import resources
from qtapture.capture.bpf import EXPECT_UPROBE_MULTI
from qtapture.capture.btf import field_offsets
from qtapture.capture.dialect import amalgamated, expanded, fields_used, map_names, offsets_header
from qtapture.capture.features import Means
from qtapture.capture.header_tree import target_arch, write_header_tree
from qtapture.capture.loader import Loaded
from qtapture.capture.programs import Program, programs_for
from qtapture.errors import HostError

__all__ = ["bcc_folder", "load_with_bcc"]

# Where distributions put it: a virtual environment does not see their packages.
_BCC_FOLDERS = ("/usr/lib/python3/dist-packages/bcc", "/usr/lib/python3/site-packages/bcc")
_LOG_TAIL = 2000  # of a verifier's log: the reason stands at the end


def bcc_folder() -> Path | None:
    """Where the distribution's bcc is, None without it."""
    found = (Path(folder) for folder in _BCC_FOLDERS)
    return next((folder for folder in found if (folder / "__init__.py").exists()), None)


def load_with_bcc(means: Means) -> Loaded:
    """Compile and load everything that these means want.

    Raises:
        HostError: bcc is missing, or cannot compile the probes.
    """
    text = amalgamated("qtapture.bpf.c", lambda name: _source(name).read_text("utf-8"))
    offsets = field_offsets(sorted(fields_used(text)))
    try:
        bcc = _import_bcc()
        module = _compiled(bcc, expanded(text), offsets_header(offsets), means)
    except HostError:
        raise
    except Exception as error:  # noqa: BLE001 - bcc raises bare exceptions, or cannot be imported
        raise HostError(f"bcc cannot compile the probes: {error}") from None
    expected = EXPECT_UPROBE_MULTI if means.attach == "multi" else 0
    programs: dict[str, int] = {}
    refused: dict[str, str] = {}
    for name, program in programs_for(means.hooks).items():
        said: list[str] = []
        try:
            with _stderr_into(said):
                programs[name] = _load_one(bcc, module, name, program, expected)
        except Exception as error:  # noqa: BLE001 - as above
            refused[name] = "".join([*said, str(error)])[-_LOG_TAIL:]
    maps = {name: module[name].get_fd() for name in map_names(text)}
    return Loaded(loader="bcc", programs=programs, maps=maps, refused=refused)


def _compiled(bcc: ModuleType, text: str, offsets: str, means: Means) -> Any:
    tree = Path(tempfile.mkdtemp(prefix="qtapture-headers-"))  # mkdtemp makes it 0700
    try:
        write_header_tree(tree, offsets)
        os.environ["BCC_KERNEL_SOURCE"] = str(tree)
        flags = ["-DQT_BCC", f"-D__TARGET_ARCH_{target_arch()}", "-Wno-macro-redefined"]
        return bcc.BPF(text=text, cflags=[*flags, f"-DQT_WITHOUT={int(means.without)}"])
    finally:
        shutil.rmtree(tree)


@contextlib.contextmanager
def _stderr_into(said: list[str]) -> Iterator[None]:
    """bcc prints the verifier's log to descriptor 2; here it becomes text."""
    log, before = os.memfd_create("log"), os.dup(2)
    os.dup2(log, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        with open(log, "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))


def _source(name: str) -> Path:
    return Path(resources.folder("bpf")) / name


def _load_one(bcc: ModuleType, module: Any, name: str, program: Program, expected: int) -> int:
    if program.kind == "raw_tp":
        return int(module.load_func(name, bcc.BPF.RAW_TRACEPOINT).fd)
    return int(module.load_func(name, bcc.BPF.KPROBE, None, expected).fd)


def _import_bcc() -> ModuleType:
    """The distribution's bcc, without putting its whole folder of packages on the path.

    PyPI's ``bcc`` is another program altogether: it is never imported by name.
    """
    folder = bcc_folder()
    if folder is None:
        raise HostError("bcc is missing (Debian: apt install python3-bpfcc; never PyPI's bcc)")
    spec = importlib.util.spec_from_file_location(
        "bcc", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise HostError(f"{folder} is no Python package")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    spec.loader.exec_module(module)
    return module
