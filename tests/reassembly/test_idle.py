"""Connections that were open before the recording and said nothing during it."""

from builders.records import NETNS
from builders.samples import Host

from qtapture.events import ReasonCode, Verdict
from qtapture.reassembly import survey
from qtapture.source import EventType


def tell_socket(host: Host, **over) -> None:
    """As the recorder's snapshot has it."""
    body = {
        "state": "ESTABLISHED",
        "netns": NETNS,
        "local": "10.0.0.2",
        "local_port": 40000,
        "peer": "93.184.216.34",
        "peer_port": 443,
        "inode": 777,
        "owners": [{"pid": 4000, "start_ticks": 5}],
    }
    host.tell(EventType.SOCKET, **(body | over))


def test_an_idle_connection_is_listed_as_older_with_its_holder():
    host = Host()
    host.tell(EventType.PROCESS, pid=4000, start_ticks=5, comm="psql", exe="/usr/bin/psql")
    tell_socket(host)
    (connection,) = survey(host.source()).tables.connections
    assert connection.older
    assert connection.network == "10.0.0.2:40000 -> 93.184.216.34:443"
    assert connection.verdict is Verdict.PARTIAL
    assert ReasonCode.OLDER_THAN_RECORDING in {reason.code for reason in connection.reasons}
    assert connection.owner is not None
    assert connection.owner.comm == "psql"


def test_both_ends_of_an_idle_connection_are_one():
    host = Host()
    tell_socket(host, local="127.0.0.1", peer="127.0.0.1")
    tell_socket(
        host, local="127.0.0.1", peer="127.0.0.1", local_port=443, peer_port=40000, inode=778
    )
    (connection,) = survey(host.source()).tables.connections
    assert connection.server is not None
    assert connection.server.port == 443


def test_one_that_speaks_after_all_is_not_listed_twice():
    host = Host()
    curl = host.run("curl")
    socket = curl.connect("10.0.0.2:40000", "93.184.216.34:443")
    tell_socket(host, inode=socket.inode)
    socket.close()
    assert len(survey(host.source()).tables.connections) == 1


def test_what_listens_or_waits_for_its_end_is_no_connection():
    host = Host()
    tell_socket(host, state="LISTEN", peer="0.0.0.0", peer_port=0)
    tell_socket(host, state="TIME_WAIT", inode=0)
    assert survey(host.source()).tables.connections == ()


def test_a_snapshot_of_nonsense_costs_itself():
    host = Host()
    tell_socket(host, local="here", owners="me")
    tell_socket(host, owners=[7], local_port="high")
    (connection,) = survey(host.source()).tables.connections
    assert connection.owner is None
