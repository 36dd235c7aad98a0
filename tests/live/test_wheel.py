"""The wheel for Linux records on a host that has neither bcc nor libbpf."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders.clients import curl
from builders.nginx import Nginx
from builders.recording import SOURCE

from qtapture.analysis import open_analysis
from qtapture.events import Verdict
from qtapture.session import open_session

_HIDE = """
mount -t tmpfs none /usr/lib/python3/dist-packages/bcc
for name in libbpf libelf; do
  for file in $(/sbin/ldconfig -p | sed -n "s/.*$name\\.so\\.1 .*=> //p"); do
    mount --bind /dev/null "$(readlink -f "$file")"
  done
done
exec "$@"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """What pip unpacks of the wheel."""
    subprocess.run([SOURCE / "scripts" / "wheel"], check=True, capture_output=True, cwd=SOURCE)
    (wheel,) = (SOURCE / "dist").glob("*-manylinux*.whl")
    folder = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", folder, wheel], check=True, capture_output=True)
    return folder


def test_it_brings_what_the_host_lacks(nginx: Nginx, tmp_path: Path, site: Path) -> None:
    session = tmp_path / "a.qtap"
    record = [sys.executable, "-m", "qtapture", "record", "-o", session]
    client = curl(nginx.certificate.path, nginx.url("page.txt"))
    command = ["unshare", "-m", "/bin/sh", "-c", _HIDE, "sh", *record, "--", *client]
    result = subprocess.run(
        [str(word) for word in command],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    assert result.returncode == 0, result.stderr
    assert open_session(session).header["loader"] == "core"
    (connection,) = open_analysis(session).tables.connections
    assert connection.verdict is Verdict.COMPLETE
