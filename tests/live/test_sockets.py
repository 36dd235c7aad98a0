"""TCP in all its ways: refused, IPv6, vectored, sent from a file, accepted for another."""

import json
import os
import socket
import subprocess
import textwrap
from pathlib import Path

import pytest
from builders.clients import SYSTEM_PYTHON
from builders.recording import Recording, record_command, run
from builders.replays import exchanges

from qtapture.analysis import open_analysis
from qtapture.events import Connection, Direction, Segment, Verdict


def python(folder: Path, text: str, *arguments: object) -> list[object]:
    """A program in the distribution's Python."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(text))
    return [SYSTEM_PYTHON, script, *arguments]


def connections(session: Path) -> list[Connection]:
    return list(open_analysis(session).tables.connections)


def streams(session: Path) -> dict[tuple[int, Direction], bytes]:
    """All bytes of each connection and direction."""
    found: dict[tuple[int, Direction], bytes] = {}
    for item in open_analysis(session).iter_traffic():
        if isinstance(item, Segment):
            key = (item.connection.number, item.direction)
            found[key] = found.get(key, b"") + item.data
    return found


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_refused_connect_is_an_attempt_with_its_error(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}/"
    result = record_command(tmp_path, "/usr/bin/curl", "-s", url)
    assert result.status == 7
    (connection,) = connections(result.session)
    assert connection.error == "ECONNREFUSED"
    assert connection.established_ns is None
    assert connection.owner is not None
    assert connection.owner.comm == "curl"


_ECHO = """
    import os, socket, sys
    family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
    address = "::1" if sys.argv[1] == "6" else "127.0.0.1"
    listener = socket.create_server((address, 0), family=family)
    client = socket.create_connection(listener.getsockname()[:2])
    server, _ = listener.accept()
    client.sendmsg([b"one ", b"", b"two ", b"three"])
    got = bytearray(20)
    parts = [memoryview(got)[:3], memoryview(got)[3:]]
    size = server.recvmsg_into(parts)[0]
    assert bytes(got[:size]) == b"one two three"
    os.writev(server.fileno(), [b"A" * 5000, b"B" * 70000])
    received = b""
    while len(received) < 75000:
        received += client.recv(100000, socket.MSG_PEEK)[:0] + client.recv(100000)
    client.close()
    server.close()
"""


def test_vectored_calls_are_whole_and_peeking_is_not_counted(tmp_path: Path) -> None:
    for family in ("4", "6"):
        result = record_command(tmp_path, *python(tmp_path, _ECHO, family))
        assert result.status == 0, result.stderr
        (connection,) = connections(result.session)
        assert connection.verdict is Verdict.COMPLETE, connection.reasons
        assert connection.client is not None
        assert connection.client.ip == ("::1" if family == "6" else "127.0.0.1")
        assert streams(result.session) == {
            (connection.number, Direction.C2S): b"one two three",
            (connection.number, Direction.S2C): b"A" * 5000 + b"B" * 70000,
        }


_PREFORK = """
    import os, socket
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    if os.fork() == 0:
        request = accepted.recv(1000)
        accepted.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
        os._exit(0)
    accepted.close()
    client.sendall(b"GET /forked HTTP/1.0\\r\\n\\r\\n")
    while client.recv(1000):
        pass
    os.wait()
"""


def test_a_connection_belongs_to_the_worker_that_spoke(tmp_path: Path) -> None:
    result = record_command(tmp_path, *python(tmp_path, _PREFORK))
    (seen,) = exchanges(result.session)
    assert (seen.target, seen.body) == ("/forked", b"hi")
    (connection,) = connections(result.session)
    client, server = connection.client_process, connection.server_process
    assert client is not None
    assert server is not None
    assert server.ppid == client.pid


_SENDFILE = """
    import os, socket, sys
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.sendall(b"head")
    with open(sys.argv[1], "rb") as file:
        client.sendfile(file)
    client.close()
    while server.recv(1 << 20):
        pass
"""


def test_sendfile_is_an_exact_hole_on_one_side_and_bytes_on_the_other(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(os.urandom(50_000))
    result = record_command(tmp_path, *python(tmp_path, _SENDFILE, content))
    (connection,) = connections(result.session)
    # The receiving end has every byte: it is the side that is shown.
    assert connection.verdict is Verdict.COMPLETE
    assert streams(result.session)[connection.number, Direction.C2S] == (
        b"head" + content.read_bytes()
    )
    info = json.loads(run("info", "--json", "--side", "client", result.session))
    (reason,) = info["connections"][0]["reasons"]
    assert (reason["code"], reason["start"], reason["end"]) == ("no_buffer", 4, 50_004)


def test_arguments_are_whole_however_many(tmp_path: Path) -> None:
    words = [f"argument-{number}" for number in range(3000)]
    result = record_command(tmp_path, "/bin/true", *words)
    processes = open_analysis(result.session).tables.processes
    (true,) = [process for process in processes if process.comm == "true"]
    assert true.argv == ("/bin/true", *words)
    assert not true.argv_truncated
    assert true.exit_code == 0


def test_a_process_is_named_inside_its_namespace_too(tmp_path: Path) -> None:
    command = ["unshare", "--pid", "--fork", "/bin/sh", "-c", "/bin/true; exit 5"]
    result = record_command(tmp_path, *command)
    assert result.status == 5
    shells = [p for p in open_analysis(result.session).tables.processes if p.comm == "sh"]
    assert [shell.ns_pid for shell in shells] == [1]
    assert shells[0].exit_code == 5
    assert subprocess.run(["true"], check=True).returncode == 0


_OPEN = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
print("open", flush=True)
sys.stdin.readline()
client.sendall(b"x" * 100_000)
left = 100_000
while left:
    left -= len(server.recv(65536))
server.sendall(b"never read")
print("said", flush=True)
time.sleep(60)
"""


def test_a_connection_that_stays_open_has_the_kernels_counts(tmp_path: Path) -> None:
    command = ["/usr/bin/python3", "-c", _OPEN]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as program:
        program.stdout.readline()
        with Recording(tmp_path / "a.qtap", ("--pid", program.pid)) as recording:
            program.stdin.write("\n")
            program.stdin.flush()
            program.stdout.readline()
            recording.stop()
        program.kill()
    (connection,) = json.loads(run("info", "--json", tmp_path / "a.qtap"))["connections"]
    assert connection["older"]
    assert (connection["bytes_c2s"], connection["bytes_s2c"]) == (100_000, 0)
    # All that it ever moved was seen, or was read by nobody: nothing had passed before.
    assert connection["verdict_c2s"] == "complete"
    codes = {reason["code"] for reason in connection["reasons"]}
    assert codes == {"still_open"}


_MANY = """
    import ctypes, os, socket, struct
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()

    def take(size):
        while size:
            size -= len(server.recv(size))

    # As many vectors as there may be, in one call.
    parts = [bytes([number & 255]) * (1 + number % 90) for number in range(1024)]
    total = os.writev(client.fileno(), parts)
    assert total == sum(map(len, parts))
    take(total)
    # Two messages by sendmmsg: struct mmsghdr is msghdr (56 bytes) and msg_len.
    texts = [b"first message ", b"second message"]
    buffers = [ctypes.create_string_buffer(text, len(text)) for text in texts]
    vectors = [
        ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(buffer), len(text)))
        for buffer, text in zip(buffers, texts)
    ]
    head = b"".join(
        struct.pack("QIxxxxQQQQixxxxIxxxx", 0, 0, ctypes.addressof(vector), 1, 0, 0, 0, 0)
        for vector in vectors
    )
    messages = ctypes.create_string_buffer(head, len(head))
    assert ctypes.CDLL(None).sendmmsg(client.fileno(), messages, 2, 0) == 2
    take(28)
    # A pipe's content by splice.
    reader, writer = os.pipe()
    os.write(writer, b"spliced" * 100)
    assert os.splice(reader, client.fileno(), 700) == 700
    take(700)
    client.sendall(b"end")
    take(3)
"""


@pytest.mark.parametrize("hooks", ["socklen", "syscalls"])
def test_calls_of_every_kind_are_whole_or_an_exact_hole(tmp_path: Path, hooks: str) -> None:
    result = record_command(tmp_path, *python(tmp_path, _MANY), options=("--hooks", hooks))
    assert result.status == 0, result.stderr
    sent = b"".join(bytes([n & 255]) * (1 + n % 90) for n in range(1024))
    (connection,) = connections(result.session)
    # The receiver's calls are plain ones: its side has every byte.
    assert connection.verdict is Verdict.COMPLETE
    whole = streams(result.session)[connection.number, Direction.C2S]
    assert whole == sent + b"first message second message" + b"spliced" * 100 + b"end"
    info = json.loads(run("info", "--json", "--side", "client", result.session))
    reasons = info["connections"][0]["reasons"]
    assert {reason["code"] for reason in reasons} == {"no_buffer"}
    # Of the sender's side, what sendmmsg and splice were given is missing, and no more.
    missing = sum(reason["end"] - reason["start"] for reason in reasons)
    assert missing == 28 + 700
    assert reasons[0]["start"] == len(sent)
    assert reasons[-1]["end"] == len(whole) - 3


_SHARED = """
    import array, os, socket, threading
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(end, name, count):
        for number in range(count):
            end.sendall(f"{name}{number:04}|".encode())

    def pair():
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]

    def drain(server, size):
        while size:
            size -= len(server.recv(size))

    # Threads that share one connection.
    shared, server = pair()
    threads = [threading.Thread(target=talk, args=(shared, name, 200)) for name in "ab"]
    for thread in threads: thread.start()
    drain(server, 2 * 200 * 6)
    for thread in threads: thread.join()
    # A descriptor duplicated, then the first one closed.
    first, server = pair()
    second = first.dup()
    talk(first, "c", 10)
    first.close()
    talk(second, "c", 10)
    drain(server, 120)
    # A descriptor passed to another process, and a connection that a child inherits.
    passed, server = pair()
    left, right = socket.socketpair()
    if os.fork() == 0:
        _, descriptors, _, _ = socket.recv_fds(right, 1, 1)
        talk(socket.socket(fileno=descriptors[0]), "d", 10)
        os._exit(0)
    talk(passed, "D", 10)
    socket.send_fds(left, [b"x"], [passed.fileno()])
    os.wait()
    drain(server, 120)
    # The same descriptor number again, for another connection.
    number = passed.fileno()
    passed.close()
    again, server = pair()
    assert again.fileno() == number
    talk(again, "e", 10)
    drain(server, 60)
"""


@pytest.mark.parametrize("hooks", ["socklen", "syscalls"])
def test_nothing_is_crossed_however_descriptors_travel(tmp_path: Path, hooks: str) -> None:
    result = record_command(tmp_path, *python(tmp_path, _SHARED), options=("--hooks", hooks))
    assert result.status == 0, result.stderr
    found = connections(result.session)
    assert {connection.verdict for connection in found} == {Verdict.COMPLETE}
    said = streams(result.session)
    shared, twice, passed, again = (said[c.number, Direction.C2S] for c in found)
    words = shared.decode().split("|")[:-1]
    assert sorted(words) == [f"{name}{n:04}" for name in "ab" for n in range(200)]
    assert [w for w in words if w[0] == "a"] == [f"a{n:04}" for n in range(200)]
    ten = [f"{n:04}|" for n in range(10)]
    assert twice.decode() == "".join(f"c{word}" for word in ten + ten)
    assert passed.decode() == "".join([*(f"D{w}" for w in ten), *(f"d{w}" for w in ten)])
    assert again.decode() == "".join(f"e{word}" for word in ten)


def test_open_connections_of_the_command_have_the_kernels_counts_too(tmp_path: Path) -> None:
    # Nothing is read from standard input: it goes on at once, and the duration ends before it.
    result = record_command(
        tmp_path,
        *("/usr/bin/python3", "-c", _OPEN.replace("time.sleep(60)", "time.sleep(2)")),
        options=("--duration", "1s"),
    )
    assert "ended by duration" in result.stderr
    (connection,) = json.loads(run("info", "--json", result.session))["connections"]
    assert (connection["bytes_c2s"], connection["verdict"]) == (100_000, "complete")
