from builders.records import BOOT_ID, MS
from builders.samples import Host

from qtapture.events import ProcessExited, ProcessStarted, Segment
from qtapture.reassembly import iter_traffic, survey
from qtapture.reassembly.processes import entity_id
from qtapture.source import EventType

CGROUP = "/system.slice/docker-" + "ab" * 32 + ".scope"


def replayed(host):
    source = host.source()
    plan = survey(source)
    return plan, list(iter_traffic(source, plan))


def by_comm(plan):
    return {process.comm: process for process in plan.tables.processes}


def test_an_exec_tells_path_arguments_and_parent():
    host = Host()
    curl = host.run("curl", "-v", "https://example.com/")
    plan, items = replayed(host)
    [process] = plan.tables.processes
    assert process.executable == "/usr/bin/curl"
    assert process.argv == ("curl", "-v", "https://example.com/")
    assert not process.argv_truncated
    assert process.parent_entity_id == entity_id(BOOT_ID, 1, 1)
    assert process.origin == "exec"
    assert (process.pid, process.ppid, process.uid) == (curl.pid, 1, 1000)
    [started] = [item for item in items if isinstance(item, ProcessStarted)]
    assert started.action == "exec"


def test_lost_arguments_are_truncated_not_invented():
    host = Host()
    host.run("curl", "a" * 10)
    del host.records[-1]
    plan, _ = replayed(host)
    [process] = plan.tables.processes
    assert process.argv == ()
    assert process.argv_truncated


def test_a_child_is_its_parents_image_until_it_execs():
    host = Host()
    bash = host.run("bash", "-c", "x")
    child = bash.fork()
    socket = child.connect("10.0.0.2:40000", "10.0.0.9:80")
    socket.send(b"as bash")
    child.exec("curl", "http://x/")
    socket.send(b"as curl")
    plan, items = replayed(host)
    segments = [item for item in items if isinstance(item, Segment)]
    assert [s.process.comm for s in segments] == ["bash", "curl"]
    assert [s.process.argv for s in segments] == [("bash", "-c", "x"), ("curl", "http://x/")]
    last = next(p for p in plan.tables.processes if p.pid == child.pid)
    assert last.comm == "curl"
    assert last.origin == "fork"
    assert plan.tables.connections[0].owner.comm == "bash"  # made the first payload call


def test_an_exit_has_code_or_signal():
    host = Host()
    host.run("false").exit(1 << 8)
    host.run("crash").exit(11)
    plan, items = replayed(host)
    found = by_comm(plan)
    assert (found["false"].exit_code, found["false"].exit_signal) == (1, None)
    assert (found["crash"].exit_code, found["crash"].exit_signal) == (None, 11)
    assert sum(isinstance(item, ProcessExited) for item in items) == 2


def test_the_snapshot_tells_of_processes_that_were_there_before():
    host = Host()
    nginx = host.known("nginx")
    host.tell(
        EventType.PROCESS,
        pid=nginx.pid,
        start_ticks=nginx.ticks,
        ppid=1,
        parent_start_ticks=3,
        uid=33,
        gid=33,
        user="www-data",
        comm="nginx",
        exe="/usr/sbin/nginx",
        argv=["nginx: worker process"],
        cgroup_id=9,
        cgroup=CGROUP,
    )
    child = nginx.fork()
    child.exec("logger", uid=33)
    plan, _ = replayed(host)
    found = by_comm(plan)
    assert found["nginx"].origin == "snapshot"
    assert found["nginx"].executable == "/usr/sbin/nginx"
    assert found["nginx"].container == "ab" * 32
    assert found["nginx"].parent_entity_id == entity_id(BOOT_ID, 1, 3)
    assert found["logger"].user == "www-data"


def test_a_later_snapshot_completes_what_samples_said_and_never_contradicts():
    host = Host()
    curl = host.run("curl", "x")
    host.tell(
        EventType.PROCESS,
        pid=curl.pid,
        start_ticks=curl.ticks,
        uid=0,
        comm="other",
        exe="/opt/bin/curl",
        argv=["other"],
        cgroup=CGROUP,
        cgroup_id=77,
    )
    plan, _ = replayed(host)
    [process] = plan.tables.processes
    assert (process.comm, process.argv, process.uid) == ("curl", ("curl", "x"), 1000)
    assert process.executable == "/opt/bin/curl"
    assert process.container == "ab" * 32


def test_who_speaks_exists_even_if_nothing_else_is_known():
    host = Host()
    who = host.known("mystery")
    who.connect("10.0.0.2:40000", "10.0.0.9:80").send(b"x")
    plan, _ = replayed(host)
    [process] = plan.tables.processes
    assert (process.comm, process.origin) == ("mystery", "inferred")


def test_the_same_pid_at_another_start_is_another_process():
    host = Host()
    host.run("one", pid=500).exit()
    host.tick(50 * MS)
    host.run("two", pid=500)
    plan, _ = replayed(host)
    assert [p.comm for p in plan.tables.processes] == ["one", "two"]
    assert len({p.entity_id for p in plan.tables.processes}) == 2
