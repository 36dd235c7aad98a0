"""ELF files as attach points: real ones, built ones, broken ones."""

import io
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from qtapture.capture.elf import ElfFacts, read_elf

SOURCE = """
int SSL_read(void) { return 1; }
int SSL_write(void) { return SSL_read() + 1; }
const char *version(void) { return "x\\0OpenSSL 9.8.7 1 Jan 2030"; }
extern int gnutls_record_send(void);
int caller(void) { return gnutls_record_send(); }
"""


def build(folder: Path, *flags: str) -> Path:
    """A shared library with two functions of libssl's names."""
    (folder / "made.c").write_text(SOURCE)
    out = folder / "libmade.so"
    command = ["gcc", "-shared", "-fPIC", "-Wl,--build-id", *flags, "-o", out, folder / "made.c"]
    subprocess.run(command, check=True)
    return out


def facts_of(path: Path) -> ElfFacts:
    with path.open("rb") as file:
        return read_elf(file, ["SSL_read", "SSL_write", "SSL_free"], ["gnutls_record_send"])


def offset_by_walking(path: Path, name: str) -> int:
    """Where the function is in the file, found in another way."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        symbol = elf.get_section_by_name(".symtab").get_symbol_by_name(name)[0]
        section = elf.get_section(symbol["st_shndx"])
        return symbol["st_value"] - section["sh_addr"] + section["sh_offset"]


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_functions_are_found_by_whichever_hash_table_there_is(tmp_path: Path, style: str) -> None:
    path = build(tmp_path, f"-Wl,--hash-style={style}")
    facts = facts_of(path)
    assert facts.functions == {
        name: offset_by_walking(path, name) for name in ("SSL_read", "SSL_write")
    }


def test_a_build_id_is_as_the_linker_wrote_it(tmp_path: Path) -> None:
    path = build(tmp_path, "-Wl,--build-id=0x0102030405060708")
    assert facts_of(path).build_id == "0102030405060708"


def test_a_version_is_what_the_file_says_of_itself(tmp_path: Path) -> None:
    assert facts_of(build(tmp_path)).version == "OpenSSL 9.8.7"


def test_what_a_file_only_imports_is_not_its_own(tmp_path: Path) -> None:
    facts = facts_of(build(tmp_path))
    assert "gnutls_record_send" not in facts.names


def test_an_executable_without_such_functions_has_nothing() -> None:
    assert facts_of(Path("/bin/true")) == ElfFacts()


def test_a_file_that_is_no_elf_has_nothing_and_says_why() -> None:
    facts = read_elf(io.BytesIO(b"#!/bin/sh\n"), ["SSL_read"])
    assert not facts.functions
    assert "not readable as ELF" in facts.detail


def test_every_truncation_of_a_library_is_survived(tmp_path: Path) -> None:
    whole = build(tmp_path).read_bytes()
    for end in range(0, len(whole), 97):
        read_elf(io.BytesIO(whole[:end]), ["SSL_read"], ["gnutls_record_send"])


def test_every_changed_byte_of_the_headers_is_survived(tmp_path: Path) -> None:
    whole = bytearray(build(tmp_path).read_bytes())
    for at in range(64 + 56 * 4):
        before, whole[at] = whole[at], whole[at] ^ 0xFF
        read_elf(io.BytesIO(bytes(whole)), ["SSL_read"])
        whole[at] = before


@given(st.binary(max_size=400))
def test_any_bytes_behind_an_elf_magic_are_survived(tail: bytes) -> None:
    read_elf(io.BytesIO(b"\x7fELF\x02\x01\x01" + tail), ["SSL_read"])
