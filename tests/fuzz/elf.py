"""A library of a stranger: whatever its bytes, it has places to probe or it has none."""

import io

from qtapture.capture.elf import read_code, read_elf
from qtapture.capture.sites import Family, plan_site

__all__ = ["FAMILY", "check"]

FAMILY = Family(plain="SSL_read", extended="SSL_read_ex", through="SSL_read_ex2")


def check(data: bytes) -> None:
    """These bytes are a file."""
    facts = read_elf(io.BytesIO(data), FAMILY.names, ["gnutls_record_send"])
    assert facts.functions.keys() <= set(FAMILY.names)
    assert not (facts.functions and facts.detail)
    code = read_code(io.BytesIO(data), FAMILY.names)
    if code is None:
        return
    for entry_only in (False, True):
        family = Family(plain="SSL_read", extended="SSL_read_ex", entry_only=entry_only)
        for site in (plan_site(code, family), plan_site(code, FAMILY)):
            assert site.kind in {"internal", "call", "exported"}
            assert bool(site.offsets) == (site.kind != "exported")
