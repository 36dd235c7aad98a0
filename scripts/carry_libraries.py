"""Puts this machine's libbpf and libelf into a wheel: carry_libraries.py WHEEL FOLDER."""

import base64
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

LIBRARIES = {"libbpf.so.1": "libbpf1", "libelf.so.1": "libelf1"}  # by package
_GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)")


def main(wheel: Path, folder: Path) -> None:
    """Write the wheel for this platform beside the one that has no libraries."""
    paths = {name: library(name) for name in LIBRARIES}
    tag = f"manylinux_{'_'.join(map(str, oldest_glibc(paths.values())))}_{os.uname().machine}"
    out = folder / wheel.name.replace("-any.whl", f"-{tag}.whl")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        (record,) = (name for name in old.namelist() if name.endswith(".dist-info/RECORD"))
        rows: list[str] = []
        for name in sorted(old.namelist()):
            if name != record:
                add(new, rows, name, changed(name, old.read(name), tag))
        for name, path in paths.items():
            add(new, rows, f"qtapture/_libs/{name}", path.read_bytes())
            words = Path(f"/usr/share/doc/{LIBRARIES[name]}/copyright").read_bytes()
            add(new, rows, f"qtapture/_libs/{name}.copyright", words)
        new.writestr(record, "".join([*rows, f"{record},,\n"]))


def library(name: str) -> Path:
    """Where the dynamic linker finds a library."""
    text = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True)
    found = re.search(rf"^\s*{re.escape(name)} .*=> (\S+)$", text.stdout, re.MULTILINE)
    if found is None:
        sys.exit(f"{name} is not on this machine")
    return Path(found[1]).resolve()


def oldest_glibc(paths: object) -> tuple[int, int]:
    """The oldest C library that has all that these ask for."""
    return max((int(m[1]), int(m[2])) for path in paths for m in _GLIBC.finditer(path.read_bytes()))


def changed(name: str, content: bytes, tag: str) -> bytes:
    """The file that says which platforms a wheel is for."""
    if not name.endswith(".dist-info/WHEEL"):
        return content
    text = content.replace(b"Root-Is-Purelib: true", b"Root-Is-Purelib: false")
    return text.replace(b"-any", f"-{tag}".encode())


def add(wheel: zipfile.ZipFile, rows: list[str], name: str, content: bytes) -> None:
    """One file, and its line in RECORD."""
    wheel.writestr(name, content)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    rows.append(f"{name},sha256={digest},{len(content)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
