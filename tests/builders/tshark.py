"""tshark as an independent reader, without anybody's preferences."""

import json
import os
import shutil
import subprocess
from pathlib import Path

CHECKSUMS = ("-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE")


def _run(program: str, *arguments: str, home: Path) -> str:
    found = shutil.which(program)
    assert found, f"{program} is missing: the project's scripts install it"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "WIRESHARK_CONFIG_DIR": str(home),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    done = subprocess.run(
        [found, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{program} {arguments}: {done.stderr}"
    return done.stdout


class Tshark:
    """Questions to tshark about one file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.home = file.parent / "wireshark-home"

    def _tshark(self, *arguments: str) -> str:
        return _run("tshark", "-n", "-r", str(self.file), *arguments, home=self.home)

    def fields(self, *names: str, where: str = "", more: tuple[str, ...] = ()) -> list[list[str]]:
        """One list per matching packet, one value per field."""
        arguments = [f for name in names for f in ("-e", name)]
        show = ("-Y", where) if where else ()
        text = self._tshark(*more, *show, "-T", "fields", "-E", "separator=\x1f", *arguments)
        return [line.split("\x1f") for line in text.splitlines()]

    def count(self, where: str, more: tuple[str, ...] = ()) -> int:
        return len(self.fields("frame.number", where=where, more=more))

    def column(self, name: str, where: str = "") -> list[str]:
        return [row[0] for row in self.fields(name, where=where)]

    def json(self, where: str = "") -> list[dict]:
        show = ("-Y", where) if where else ()
        return json.loads(self._tshark(*show, "-T", "json", "--no-duplicate-keys"))

    def objects(self, folder: Path) -> dict[str, bytes]:
        """What File > Export Objects > HTTP saves."""
        self._tshark("-q", "--export-objects", f"http,{folder}")
        return {each.name: each.read_bytes() for each in sorted(folder.iterdir())}

    def stream(self, number: int) -> tuple[bytes, bytes]:
        """Follow > TCP Stream, as raw bytes each way."""
        text = self._tshark("-q", "-z", f"follow,tcp,raw,{number}")
        lines = text.splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("Node 1")) + 1
        sides: tuple[list[str], list[str]] = ([], [])
        for line in lines[start:]:
            if not line.startswith("="):
                sides[line.startswith("\t")].append(line.strip())
        return bytes.fromhex("".join(sides[0])), bytes.fromhex("".join(sides[1]))

    def bad_checksums(self) -> int:
        return self.count("ip.checksum.status==0 || tcp.checksum.status==0", CHECKSUMS)

    def good_checksums(self) -> int:
        return self.count("tcp.checksum.status==1", CHECKSUMS)

    def capinfos(self) -> str:
        return _run("capinfos", str(self.file), home=self.home)


def to_classic_pcap(file: Path, output: Path) -> None:
    """editcap -F pcap, which stops at blocks that are no packets."""
    _run("editcap", "-F", "pcap", str(file), str(output), home=file.parent / "wireshark-home")
