"""Under a scope of ports, plaintext without a port was not asked for."""

from builders.samples import Host

from qtapture.reassembly import survey


def test_plaintext_that_never_joined_is_left_out_and_counted_where_ports_were_asked_for():
    host = Host()
    host.header["scope"] = {"ports": [443]}
    host.run("curl").ssl().write(b"said to nobody knows whom")
    plan = survey(host.source())
    assert plan.tables.connections == ()
    assert plan.counts.left_out == 1


def test_without_such_a_scope_it_is_shown():
    host = Host()
    host.run("curl").ssl().write(b"said to nobody knows whom")
    plan = survey(host.source())
    assert len(plan.tables.connections) == 1
    assert plan.counts.left_out == 0
