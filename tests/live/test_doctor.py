"""doctor tries what a recording needs, and undoes it."""

import ctypes
import json
import os
import subprocess

from builders.nginx import Nginx
from builders.recording import qtapture, run


def test_a_host_that_can_record_has_everything() -> None:
    facts = json.loads(run("doctor", "--json"))
    by_name = {check["name"]: check for check in facts["checks"]}
    assert all(check["good"] for check in by_name.values() if check["needed"])
    assert {
        "capabilities",
        "btf",
        "clock",
        "loader core",
        "loader bcc",
        "uprobes multi",
        "rings",
    } <= by_name.keys()
    assert facts["capabilities"]["CAP_BPF"]


def test_it_says_what_will_be_seen_of_a_process() -> None:
    ctypes.CDLL("libssl.so.3")
    text = run("doctor", "--pid", os.getpid())
    (line,) = [line for line in text.splitlines() if line.startswith("sees") and "libssl" in line]
    assert "SSL_write" in line


def test_a_process_without_tls_is_said_to_have_none() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        text = run("doctor", "--pid", sleeper.pid)
        sleeper.kill()
    assert "sees no TLS library" in text


def test_the_price_for_a_process_is_measured(nginx: Nginx) -> None:
    url, ca = nginx.url("page.txt"), nginx.certificate.path
    many = f"while :; do curl -sS --cacert {ca} {url} {url}; done"
    with subprocess.Popen(["/bin/sh", "-c", many], stdout=subprocess.DEVNULL) as client:
        facts = json.loads(run("doctor", "--cost", nginx.worker(), "--json"))
        client.kill()
    price = facts["probe"]
    assert 0 < price["emulated_ns"] < price["stepped_ns"]
    found = {row["program"]: row for row in facts["programs"]}
    assert found["on_ssl_write_inner"]["per_second"] > 1
    assert found["on_ssl_write_inner"]["trap_ns"] == price["emulated_ns"]
    assert found["on_sock_send"]["trap_ns"] == 0
    assert 0 < facts["core"] < 1


def test_an_unknown_process_is_a_matter_of_usage() -> None:
    result = subprocess.run(
        qtapture("doctor", "--pid", 4194305), capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr == "qtapture: no process 4194305\n"


def test_without_bcc_it_says_what_to_install_and_that_the_other_loader_works() -> None:
    script = 'mount -t tmpfs none /usr/lib/python3/dist-packages/bcc && exec "$@"'
    result = subprocess.run(
        ["unshare", "-m", "/bin/sh", "-c", script, "sh", *qtapture("doctor")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "--  loader bcc: bcc is missing" in result.stdout
    assert "ok  loader core: loaded" in result.stdout
    assert "python3-bpfcc" in result.stdout


def test_without_capabilities_it_names_them() -> None:
    drop = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    result = subprocess.run(
        [*drop, *qtapture("doctor")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 3
    assert "CAP_BPF" in result.stdout
    assert result.stderr == ""
