"""Which program goes where."""

from qtapture.capture.attach_points import (
    FUNCTIONS,
    LinkPlan,
    is_tls_library,
    plan_links,
    unhookable,
)
from qtapture.capture.programs import PROGRAMS

LIBSSL = {name: 0x1000 * (at + 1) for at, name in enumerate(FUNCTIONS) if name.startswith("SSL_")}


def by_program(plans: tuple[LinkPlan, ...]) -> dict[str, LinkPlan]:
    return {plan.program: plan for plan in plans}


def test_a_whole_library_gets_entries_and_one_link_for_all_returns() -> None:
    plans = by_program(plan_links(LIBSSL, linker=False))
    assert plans["on_ssl_return"].at_return
    assert len(plans["on_ssl_return"].offsets) == 7
    assert plans["on_ssl_write"] == LinkPlan(
        program="on_ssl_write", offsets=(LIBSSL["SSL_write"],), at_return=False
    )


def test_returns_are_hooked_before_entries() -> None:
    assert plan_links(LIBSSL, linker=False)[0].program == "on_ssl_return"


def test_what_a_library_lacks_is_not_planned() -> None:
    plans = by_program(plan_links({"SSL_read": 16, "SSL_write": 32}, linker=False))
    assert set(plans) == {"on_ssl_return", "on_ssl_read", "on_ssl_write"}
    assert plans["on_ssl_return"].offsets == (16, 32)


def test_two_names_of_one_function_are_one_place() -> None:
    plans = by_program(plan_links({"SSL_connect": 64, "SSL_accept": 64}, linker=False))
    assert plans["on_ssl_handshake"].offsets == (64,)


def test_the_dynamic_linker_is_hooked_only_where_processes_may_be_stopped() -> None:
    functions = {"_dl_debug_state": 8288}
    assert plan_links(functions, linker=False) == ()
    assert plan_links(functions, linker=True)[0].program == "on_link_map"


def test_peeking_is_not_hooked_for_it_is_read_again() -> None:
    assert not {"SSL_peek", "SSL_peek_ex"} & set(FUNCTIONS)


def test_every_planned_program_exists() -> None:
    everything = dict.fromkeys(FUNCTIONS, 4096)
    assert {plan.program for plan in plan_links(everything, linker=True)} <= set(PROGRAMS)


def test_libraries_without_a_probe_are_named() -> None:
    assert unhookable(frozenset({"gnutls_record_send"})) == "GnuTLS"
    assert unhookable(frozenset()) == ""
    assert not is_tls_library({"BIO_write": 1})
    assert is_tls_library({"SSL_write": 1})
