"""Which program goes where: the functions of TLS libraries, as a table, and plans made of it.

Pure: facts of a file in, links to make out. The attacher makes them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qtapture.capture.sites import Family, Site

__all__ = ["FAMILIES", "FUNCTIONS", "MARKERS", "LinkPlan"]
__all__ += ["is_tls_library", "plan_links", "unhookable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A program, the functions it is for, and whether it runs when they return."""

    program: str
    functions: tuple[str, ...]
    at_return: bool = False


# SSL_peek is left out on purpose: what it shows is read again.
_HANDSHAKES = ("SSL_do_handshake", "SSL_connect", "SSL_accept")
_TABLE: tuple[_Row, ...] = (
    # Returns first: an entry without its return would leave a frame behind.
    _Row(
        program="on_ssl_return",
        functions=("SSL_read", "SSL_write", "SSL_read_ex", "SSL_write_ex", *_HANDSHAKES),
        at_return=True,
    ),
    _Row(program="on_ssl_free", functions=("SSL_free",)),
    _Row(program="on_ssl_handshake", functions=_HANDSHAKES),
    _Row(program="on_ssl_read", functions=("SSL_read",)),
    _Row(program="on_ssl_write", functions=("SSL_write",)),
    _Row(program="on_ssl_read_ex", functions=("SSL_read_ex",)),
    _Row(program="on_ssl_write_ex", functions=("SSL_write_ex",)),
    _Row(program="on_bio_write", functions=("BIO_write",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inner:
    """A family, and the program for its common function by the register of the count."""

    family: Family
    programs: Mapping[str, str] = field(default_factory=dict)
    program: str = ""  # whatever the register


_INNER: tuple[_Inner, ...] = (
    _Inner(
        family=Family(plain="SSL_read", extended="SSL_read_ex"),
        programs={"rcx": "on_ssl_read_inner"},
    ),
    _Inner(
        family=Family(plain="SSL_write", extended="SSL_write_ex", through="SSL_write_ex2"),
        programs={"rcx": "on_ssl_write_inner", "r8": "on_ssl_write_flags"},
    ),
    _Inner(
        family=Family(plain="BIO_write", extended="BIO_write_ex", entry_only=True),
        program="on_bio_write",
    ),
)
FAMILIES: tuple[Family, ...] = tuple(inner.family for inner in _INNER)
_LINKER = _Row(program="on_link_map", functions=("_dl_debug_state",))

FUNCTIONS: tuple[str, ...] = tuple(
    dict.fromkeys(name for row in (*_TABLE, _LINKER) for name in row.functions)
)
# Exported by TLS libraries that have no probe: enough to name them.
MARKERS: dict[str, str] = {
    "gnutls_record_send": "GnuTLS",
    "PR_Write": "NSS",
    "mbedtls_ssl_write": "mbed TLS",
    "wolfSSL_write": "wolfSSL",
    "rustls_connection_write": "rustls",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPlan:
    """One link to make: a program at file offsets, all on entry or all at return."""

    program: str
    offsets: tuple[int, ...]
    at_return: bool
    checked: bool = False  # in the middle of code: the bytes there are looked at once more


def plan_links(
    functions: Mapping[str, int], *, linker: bool, sites: Mapping[str, Site] | None = None
) -> tuple[LinkPlan, ...]:
    """The links for a file with these functions.

    ``linker``: the dynamic linker's too. ``sites``: by the plain function of a family, where
    something better than the exported functions was proved.
    """
    rows = (*_TABLE, _LINKER) if linker else _TABLE
    inner = [(row, site) for row in _INNER if (site := _maybe_site(row, sites or {})) is not None]
    replaced = {name for row, _ in inner for name in row.family.names}
    plans = [*_inner_plans(inner)]
    for row in rows:
        # Two names of one function are one place.
        offsets = {functions[n] for n in row.functions if n in functions and n not in replaced}
        if offsets:
            plan = LinkPlan(
                program=row.program, offsets=tuple(sorted(offsets)), at_return=row.at_return
            )
            plans.append(plan)
    return tuple(plans)


def _maybe_site(row: _Inner, sites: Mapping[str, Site]) -> Site | None:
    site = sites.get(row.family.plain)
    usable = site is not None and site.offsets and (row.program or site.done in row.programs)
    return site if usable else None


def _inner_plans(inner: Iterable[tuple[_Inner, Site]]) -> Iterator[LinkPlan]:
    for row, site in inner:
        if not row.family.entry_only:
            yield LinkPlan(
                program="on_ssl_return", offsets=site.offsets, at_return=True, checked=True
            )
        program = row.program or row.programs[site.done]
        yield LinkPlan(program=program, offsets=site.offsets, at_return=False, checked=True)


def is_tls_library(functions: Mapping[str, int]) -> bool:
    """Whether plaintext can be had from a file with these functions."""
    return "SSL_write" in functions or "SSL_write_ex" in functions


def unhookable(names: frozenset[str]) -> str:
    """The name of a TLS library that has no probe, empty if it is none."""
    return next((library for marker, library in MARKERS.items() if marker in names), "")
