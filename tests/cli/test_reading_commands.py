"""info, replay and export, from the command line down; the session itself is built in memory."""

import json

import pytest
from builders.samples import Host

from qtapture.analysis import analysis as module
from qtapture.cli.app import run


class Reader:
    """What opening a session gives."""

    def __init__(self, source, closed=True, findings=()):
        self._source = source
        self.header = source.header
        self.closed = closed
        self.findings = list(findings)
        self.chain_head = b"\xab\xcd"

    def iter_records(self):
        return self._source.iter_records()


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A function that puts a session in place; gives its path."""

    def put(closed=True, findings=()):
        host = Host()
        curl = host.run("curl", "http://x/\x1b]0;title\x07")
        socket = curl.connect("10.0.0.2:40000", "10.0.0.9:80")
        socket.send(b"GET /\x1b[2J HTTP/1.1\r\nHost: x\r\n\r\n")
        socket.receive(b"HTTP/1.1 200 \x1b[31mred\r\nContent-Length: 1\r\n\r\n\x1b")
        socket.close()
        host.losses()
        reader = Reader(host.source(), closed, findings)
        monkeypatch.setattr(module, "open_session", lambda _: reader)
        path = tmp_path / "incident.qtap"
        path.write_bytes(b"a session")
        return path

    return put


@pytest.mark.parametrize("args", [["info"], ["replay"], ["replay", "-v"]])
def test_no_escape_sequence_of_the_traffic_reaches_the_terminal(session, capsys, args):
    assert run([*args, str(session())]) == 0
    out = capsys.readouterr().out
    assert out
    assert all(line.isprintable() for line in out.split("\n"))


@pytest.mark.parametrize("args", [["info", "--json"], ["replay", "--json"]])
def test_json_is_ascii(session, capsys, args):
    assert run([*args, str(session())]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out


def test_info_json_has_everything(session, capsys):
    run(["info", "--json", str(session())])
    rows = json.loads(capsys.readouterr().out)
    assert rows["connections"][0]["verdict"] == "complete"
    assert rows["processes"][0]["comm"] == "curl"
    assert rows["session"]["chain_head"] == "abcd"
    assert len(rows["session"]["sha256"]) == 64
    assert all(row["adds_up"] for row in rows["loss"])


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"closed": False}, "never closed"),
        ({"findings": ["chunk 3 is damaged", "x"]}, "chunk 3 is damaged and 1 more finding"),
    ],
)
@pytest.mark.parametrize("args", [["info"], ["replay"], ["export", "pcapng"]])
def test_a_damaged_session_gives_output_one_line_and_status_1(session, capsys, state, said, args):
    path = session(**state)
    assert run([*args, str(path)]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    if args[0] == "export":
        assert path.with_suffix(".pcapng").stat().st_size > 100


def test_export_takes_the_name_of_the_session_and_replaces_only_by_force(session, capsys):
    path = session()
    assert run(["export", "streams", str(path)]) == 0
    assert (path.with_suffix(".streams") / "manifest.json").is_file()
    assert run(["export", "streams", str(path)]) == 2
    assert "--force" in capsys.readouterr().err
    assert run(["export", "streams", "--force", str(path)]) == 0


def test_export_never_replaces_the_session(session):
    path = session()
    assert run(["export", "pcapng", "--force", "-o", str(path), str(path)]) == 2
    assert path.read_bytes() == b"a session"


def test_a_folder_cannot_be_stdout(session):
    assert run(["export", "streams", "-o", "-", str(session())]) == 2


def test_an_export_that_fails_leaves_nothing(session, monkeypatch):
    from qtapture.export.pcapng import PcapngExport

    def broken(self, item):
        raise OSError(28, "No space left on device", "x")

    path = session()
    monkeypatch.setattr(PcapngExport, "traffic", broken)
    assert run(["export", "pcapng", str(path)]) == 1
    assert [p.name for p in path.parent.iterdir()] == ["incident.qtap"]


@pytest.mark.parametrize("side", ["best", "client", "server", "both"])
def test_every_side_can_be_asked_for(session, side):
    assert run(["replay", "--side", side, str(session())]) == 0


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path, capsys):
    assert run(["info", str(tmp_path / "none.qtap")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
