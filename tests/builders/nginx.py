"""A real nginx on free ports of the loopback interface, and what it says that it served."""

import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from builders.certificates import Certificate, make_certificate

_CONFIG = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
user root;
events {{ worker_connections 1024; }}
http {{
  log_format rows escape=json '{{"method":"$request_method","uri":"$request_uri",'
    '"status":$status,"body_bytes":$body_bytes_sent,"request_length":$request_length,'
    '"bytes":$bytes_sent,"connection":$connection,"port":"$remote_port","scheme":"$scheme"}}';
  access_log {folder}/access.log rows;
  client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  types {{ text/plain txt; application/json json; application/octet-stream bin; }}
  gzip on; gzip_min_length 100; gzip_types application/json; client_max_body_size 0;
  keepalive_requests 1000000; sendfile off; lingering_close off;
  server {{
    listen 127.0.0.1:{https} ssl; listen 127.0.0.1:{http};
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
    root {folder}/www;
    location /echo {{ return 200 "ok\\n"; }}
    location /gone {{ return 404; }}
  }}
}}
"""


@dataclass
class Nginx:
    """Serves ``files``; use it as a context manager."""

    folder: Path
    certificate: Certificate
    https: int
    http: int
    process: subprocess.Popen[bytes] | None = None
    changes: dict[str, str] = field(default_factory=dict)  # of the configuration's words

    @classmethod
    def prepare(cls, folder: Path) -> Self:
        """Make the folder, the certificate and the choice of ports."""
        (folder / "www").mkdir(parents=True)
        https, http = _free_ports()
        return cls(folder, make_certificate(folder), https, http)

    def serve(self, name: str, content: bytes) -> None:
        """Put a file under the root."""
        (self.folder / "www" / name).write_bytes(content)

    def url(self, name: str, scheme: str = "https") -> str:
        """Of a file, by name."""
        port = self.https if scheme == "https" else self.http
        return f"{scheme}://localhost:{port}/{name}"

    def rows(self) -> list[dict[str, Any]]:
        """The access log, in the order of writing."""
        text = (self.folder / "access.log").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def worker(self) -> int:
        """The process that serves."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def __enter__(self) -> Self:
        config = self.folder / "nginx.conf"
        text = _CONFIG.format(
            folder=self.folder,
            https=self.https,
            http=self.http,
            cert=self.certificate.path,
            key=self.certificate.key,
        )
        for words, others in self.changes.items():
            assert words in text
            text = text.replace(words, others)
        config.write_text(text)
        self.process = subprocess.Popen(
            ["/usr/sbin/nginx", "-c", config, "-p", self.folder, "-e", self.folder / "error.log"],
            stderr=subprocess.PIPE,
        )
        _wait_for_port(self.https, self.process)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"nginx ended: {os.read(process.stderr.fileno(), 4096)!r}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nginx does not answer")
