"""Cheap places are taken only where they are proved to be as good as the functions."""

from pathlib import Path

import pytest
from builders.assembly import EXTENDED, INNER, PLAIN, assembled

from qtapture.capture.elf import read_code
from qtapture.capture.sites import Family, Site, is_emulated, is_probeable, plan_site

FAMILY = Family(plain="SSL_read", extended="SSL_read_ex", through="SSL_read_ex2")
ENTRY = Family(plain="SSL_read", extended="SSL_read_ex", entry_only=True)
USUAL = {"SSL_read": PLAIN, "SSL_read_ex": EXTENDED, "inner": INNER}
COMES_BACK = PLAIN.replace("call inner", "3: call inner").replace("jmp 2b", "jmp 3b")
PUSH_AND_MOVE = bytes.fromhex("534889fb")  # push %rbx; mov %rdi, %rbx
LIBSSL = Path("/usr/lib/x86_64-linux-gnu/libssl.so.3")


def planned(path: Path, family: Family = FAMILY) -> Site:
    with path.open("rb") as file:
        code = read_code(file, family.names)
        assert code is not None
        return plan_site(code, family)


def inner_offset(path: Path) -> int:
    """Where the common function's first push is, found by its bytes."""
    data = path.read_bytes()
    assert data.count(PUSH_AND_MOVE) == 1
    return data.index(PUSH_AND_MOVE)


def test_the_function_that_both_call_is_taken(tmp_path: Path) -> None:
    path = assembled(tmp_path, USUAL)
    assert planned(path) == Site(kind="internal", offsets=(inner_offset(path),), done="rcx")


def test_behind_an_endbr64_is_as_good_as_at_it(tmp_path: Path) -> None:
    path = assembled(tmp_path, USUAL | {"inner": "endbr64\n" + INNER})
    assert planned(path).offsets == (inner_offset(path),)


def test_the_count_may_be_the_fifth_argument(tmp_path: Path) -> None:
    plain = PLAIN.replace("lea 8(%rsp), %rcx", "lea 8(%rsp), %r8\n xor %ecx, %ecx")
    assert planned(assembled(tmp_path, USUAL | {"SSL_read": plain})).done == "r8"


@pytest.mark.parametrize("flags", [(), ("-Wl,-Bsymbolic",)])
def test_one_exported_function_may_stand_between(tmp_path: Path, flags: tuple[str, ...]) -> None:
    functions = {
        "SSL_read": PLAIN.replace("lea 8(%rsp), %rcx", "lea 8(%rsp), %r8\n xor %ecx, %ecx"),
        "SSL_read_ex2": EXTENDED,
        "SSL_read_ex": "mov %rcx, %r8\n xor %ecx, %ecx\n jmp SSL_read_ex2@PLT",
        "inner": INNER,
    }
    assert planned(assembled(tmp_path, functions, *flags)).kind == "internal"


def test_functions_that_begin_cheaply_need_nothing_better(tmp_path: Path) -> None:
    functions = {name: "push %rbp\n pop %rbp\n" + body for name, body in USUAL.items()}
    assert planned(assembled(tmp_path, functions)) == Site(kind="exported")


def test_where_only_the_entry_counts_the_calls_will_do(tmp_path: Path) -> None:
    functions = USUAL | {"inner": "sub $8, %rsp\n add $8, %rsp\n ret"}
    path = assembled(tmp_path, functions)
    site = planned(path, ENTRY)
    assert (site.kind, len(site.offsets)) == ("call", 2)
    data = path.read_bytes()
    assert all(data[offset] == 0xE8 for offset in site.offsets)
    assert planned(path).kind == "exported"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"SSL_read_ex": EXTENDED.replace("call inner", "call other"), "other": INNER}, "alike"),
        ({"SSL_read": PLAIN.replace("movslq", "xor %edi, %edi\n movslq")}, "alike"),
        ({"SSL_read": PLAIN.replace("lea 8(%rsp), %rcx", "mov %rbx, %rcx")}, "alike"),
        ({"SSL_read_ex": EXTENDED.replace("call", "xor %ecx, %ecx\n call")}, "alike"),
        ({"SSL_read": COMES_BACK}, "alike"),
        ({"inner": "sub $8, %rsp\n add $8, %rsp\n ret"}, "does not begin"),
        ({"inner": "nopl 0(%rax,%rax,1)\n ret"}, "does not begin"),
        ({"SSL_read": PLAIN.replace("sub $0x18, %rsp", ".byte 0x06")}, "cannot be followed"),
    ],
)  # fmt: skip
def test_whatever_is_not_proved_leaves_the_exported_functions(
    tmp_path: Path, change: dict[str, str], why: str
) -> None:
    site = planned(assembled(tmp_path, USUAL | change, local=("inner", "other")))
    assert (site.kind, site.offsets, site.emulated) == ("exported", (), False)
    assert why in site.why


def test_a_library_without_the_extended_form_keeps_its_function(tmp_path: Path) -> None:
    site = planned(assembled(tmp_path, {"SSL_read": PLAIN, "inner": INNER}))
    assert site.why == "there is no SSL_read_ex"


def test_a_change_of_the_code_is_noticed_by_its_bytes() -> None:
    assert is_probeable(b"\xe8\0\0\0\0")
    assert is_probeable(b"\x41\x54")
    assert not is_probeable(b"\x0f\x1f\x44\0\0")  # a five-byte nop corrupts its program on 6.18
    assert not is_probeable(b"\xcc")


@pytest.mark.parametrize(
    ("code", "cheap"),
    [
        (b"\x53", True),
        (b"\x41\x57", True),
        (b"\x90", True),
        (b"\x41\x58", False),  # pop
        (b"\x48\x83\xec\x18", False),  # sub
        (b"\xf3\x0f\x1e\xfa", False),  # endbr64
        (b"\x41", False),
        (b"", False),
    ],
)
def test_what_the_kernel_emulates(code: bytes, cheap: bool) -> None:
    assert is_emulated(code) is cheap


@pytest.mark.skipif(not LIBSSL.exists(), reason="the distribution's libssl for x86-64")
def test_debians_libssl_has_cheap_places() -> None:
    read = Family(plain="SSL_read", extended="SSL_read_ex")
    write = Family(plain="SSL_write", extended="SSL_write_ex", through="SSL_write_ex2")
    assert planned(LIBSSL, read).kind == "internal"
    assert planned(LIBSSL, write).kind == "internal"


def test_a_file_that_is_no_elf_has_no_code(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x7fELF" + bytes(60))
    with path.open("rb") as file:
        assert read_code(file, ["SSL_read"]) is None


def test_any_truncation_of_a_library_is_survived(tmp_path: Path) -> None:
    content = assembled(tmp_path, USUAL).read_bytes()
    path = tmp_path / "cut.so"
    for size in range(0, len(content), 101):
        path.write_bytes(content[:size])
        with path.open("rb") as file:
            code = read_code(file, FAMILY.names)
            assert code is None or plan_site(code, FAMILY).kind in {"internal", "exported"}
