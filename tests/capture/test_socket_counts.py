"""The kernel's counts of open connections, here and in another network namespace."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.recording import is_root

from qtapture.capture.socket_counts import read_socket_counts

# SIOCSIFFLAGS with IFF_UP: a new namespace has its loopback down.
_UP = """
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))
"""
_TALK = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.sendall(b"x" * 5000)
left = 3000
while left:
    left -= len(server.recv(left))
print(client.fileno(), server.fileno(), flush=True)
sys.stdin.read()
"""


def namespace(pid: int) -> int:
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def inode(pid: int, descriptor: int) -> int:
    return int(str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())[8:-1])


@pytest.fixture(params=["here", "elsewhere"])
def talk(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, int]]:
    """A process that sent 5,000 bytes to itself and read 3,000; its two sockets."""
    command = ["/usr/bin/python3", "-c", _TALK]
    if request.param == "elsewhere":
        if not is_root():
            pytest.skip("a network namespace needs root")
        command = ["unshare", "-n", *command[:2], _UP + _TALK]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        client, server = process.stdout.readline().split()
        yield process.pid, inode(process.pid, int(client)), inode(process.pid, int(server))
        process.kill()


def test_what_was_written_and_what_was_read(talk: tuple[int, int, int]) -> None:
    pid, client, server = talk
    netns = namespace(pid)
    counts = read_socket_counts({netns: pid})
    assert counts[netns, client] == (0, 5000)
    assert counts[netns, server] == (3000, 0)


def test_a_process_that_has_gone_costs_its_namespace_alone() -> None:
    own = namespace(os.getpid())
    found = read_socket_counts({own: os.getpid(), 1: 4194304})
    assert {netns for netns, _ in found} <= {own}
