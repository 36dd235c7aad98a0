"""Bodies come out of every export byte for byte as they were served."""

import base64
import gzip
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from builders.clients import curl
from builders.nginx import Nginx
from builders.recording import record_command, run
from builders.replays import exchanges

BODIES = {
    "one.bin": b"x",
    "random-64k.bin": os.urandom(64 << 10),
    "random-8m.bin": os.urandom(8 << 20),
    "text.txt": "straße ☃\n".encode() * 5000,
    "data.json": json.dumps([{"number": n, "name": f"row {n}"} for n in range(3000)]).encode(),
}


@pytest.fixture
def session(nginx: Nginx, tmp_path: Path) -> Path:
    """curl fetches every body once, and posts one."""
    for name, content in BODIES.items():
        nginx.serve(name, content)
    upload = tmp_path / "upload.bin"
    upload.write_bytes(os.urandom(300_000))
    outputs = [
        part for name in BODIES for part in (nginx.url(name), "-o", tmp_path / f"got-{name}")
    ]
    fetch = curl(nginx.certificate.path, "--compressed", *outputs)
    post = ["--next", "-sS", "--http1.1", "--cacert", nginx.certificate.path]
    post += ["--data-binary", f"@{upload}", "-o", tmp_path / "got-echo", nginx.url("echo")]
    result = record_command(tmp_path, *fetch, *post)
    assert result.status == 0, result.stderr
    for name, content in BODIES.items():
        assert (tmp_path / f"got-{name}").read_bytes() == content
    return result.session


def test_replay_has_every_body_decoded(session: Path, tmp_path: Path) -> None:
    found = {seen.target: seen for seen in exchanges(session)}
    for name, content in BODIES.items():
        assert found[f"/{name}"].body == content, name
    assert found["/echo"].request_body == (tmp_path / "upload.bin").read_bytes()


def test_streams_have_every_body_and_true_digests(session: Path, tmp_path: Path) -> None:
    run("export", "streams", session, "-o", tmp_path / "streams")
    manifest = json.loads((tmp_path / "streams" / "manifest.json").read_text())
    digests = {entry["sha256"] for entry in manifest["files"]}
    for name, content in BODIES.items():
        assert hashlib.sha256(content).hexdigest() in digests, name
    for entry in manifest["files"]:
        content = (tmp_path / "streams" / entry["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry.get("gaps", []) == []


def test_har_has_every_body_and_right_sizes(session: Path, tmp_path: Path) -> None:
    har = tmp_path / "all.har"
    run("export", "har", session, "-o", har)
    entries = {
        entry["request"]["url"].rpartition("/")[2]: entry
        for entry in json.loads(har.read_text())["log"]["entries"]
    }
    for name, content in BODIES.items():
        response = entries[name]["response"]
        assert har_body(response["content"], har) == content, name
        assert response["content"]["size"] == len(content)
    compressed = entries["data.json"]["response"]
    assert compressed["bodySize"] < compressed["content"]["size"]
    assert compressed["content"]["compression"] == len(BODIES["data.json"]) - compressed["bodySize"]


def har_body(content: dict, har: Path) -> bytes:
    """The bytes of a HAR body: text, base64, or a file beside."""
    if file := content.get("_qtapture", {}).get("file"):
        raw = (har.parent / file["name"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == file["sha256"]
        return raw
    if content.get("encoding") == "base64":
        return base64.b64decode(content["text"])
    return content["text"].encode()


def test_wireshark_finds_the_requests_the_server_logged_and_the_bodies_it_served(
    session: Path, nginx: Nginx, tmp_path: Path
) -> None:
    run("export", "pcapng", session, "-o", tmp_path / "all.pcapng")
    requests, statuses = tshark_rows(tmp_path / "all.pcapng")
    assert requests == sorted((row["method"], row["uri"]) for row in nginx.rows())
    assert statuses == sorted(row["status"] for row in nginx.rows())
    objects = tmp_path / "objects"
    tshark("-r", tmp_path / "all.pcapng", "--export-objects", f"http,{objects}")
    found = {hashlib.sha256(path.read_bytes()).hexdigest() for path in objects.iterdir()}
    for name, content in BODIES.items():
        assert hashlib.sha256(content).hexdigest() in found, name


def tshark_rows(path: Path) -> tuple[list[tuple[str, str]], list[int]]:
    """Requests and statuses, sorted, with no preference set.

    nginx may answer an upload before it has come to its end, and tshark shows a request at its
    end: their order is no use to pair them by.
    """
    fields = ("http.request.method", "http.request.uri", "http.response.code")
    options = [part for field in fields for part in ("-e", field)]
    lines = tshark("-r", path, "-Y", "http", "-T", "fields", *options).splitlines()
    rows = [line.split("\t") for line in lines]
    requests = sorted((method, uri) for method, uri, _ in rows if method)
    return requests, sorted(int(code) for _, _, code in rows if code)


def tshark(*arguments: object) -> str:
    """Run tshark with its own defaults."""
    home = Path(shutil.which("tshark") or "tshark")
    result = subprocess.run(
        [home, *map(str, arguments)], capture_output=True, text=True, check=True, timeout=120
    )
    return result.stdout


def test_a_gzip_body_is_kept_as_it_travelled_too(session: Path, tmp_path: Path) -> None:
    run("export", "streams", session, "-o", tmp_path / "streams")
    encoded = list((tmp_path / "streams").rglob("*.encoded"))
    assert gzip.decompress(encoded[0].read_bytes()) == BODIES["data.json"]
