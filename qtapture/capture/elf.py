"""ELF files as attach points: which functions a library offers, and where in the file they are.

The only module that knows pyelftools. A target's ELF file is hostile input: whatever is wrong
with it makes it a file without functions, never an error.
"""

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from elftools.common.exceptions import ELFError
from elftools.construct.core import ConstructError
from elftools.elf.elffile import ELFFile

from qtapture.capture.machine_code import Code, Function, Section

__all__ = ["ElfFacts", "read_code", "read_elf"]

# Symbol names of the largest library seen (a browser's) take 2 MiB.
_MOST_NAMES = 64 << 20
_EXECINSTR = 4  # SHF_EXECINSTR
_MOST_OFFSET = (1 << 63) - 1  # of off_t: seeking past it is an error of its own
_MOST_SYMBOLS = 64 << 20  # bytes of a table: a browser's has 8 MiB
_MOST_RELOCATIONS = 1 << 20  # bytes of a table; libssl's have 30 KiB
# Where a library says its own version; 8 MiB covers every libcrypto seen.
_VERSION_BYTES = 16 << 20
_VERSION = re.compile(rb"\0((?:OpenSSL|LibreSSL|BoringSSL|AWS-LC) [0-9][0-9a-z.+-]{0,31})[ \0]")
# What a hostile file can make the parser raise, beside its own errors.
_BROKEN = (
    *(ELFError, ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(ConstructError, struct.error),  # which pyelftools lets through from below
    *(OverflowError, MemoryError, AssertionError, RecursionError, UnicodeError, ZeroDivisionError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfFacts:
    """What is wanted of one file. ``functions`` are file offsets by name."""

    functions: Mapping[str, int] = field(default_factory=dict)
    build_id: str = ""
    version: str = ""
    names: frozenset[str] = frozenset()  # markers that it defines
    detail: str = ""  # why nothing could be read


def read_elf(file: IO[bytes], wanted: Iterable[str], markers: Iterable[str] = ()) -> ElfFacts:
    """Look up functions by name; never raises on what the file holds.

    ``markers`` are names that are only asked for, to recognise a library by.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return _read(ELFFile(file), file, tuple(wanted), tuple(markers))
    except _BROKEN as error:
        return ElfFacts(detail=f"not readable as ELF: {type(error).__name__}")


def read_code(file: IO[bytes], names: Iterable[str]) -> Code | None:
    """The machine code that these functions are in; None for what is no x86-64 file, or broken.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        elf = ELFFile(file)
        if elf.get_machine_arch() != "x64":
            return None
        return Code(
            file=file,
            functions=_places(elf, tuple(names)),
            sections=_executable_sections(elf),
            imports=_imports(elf),
        )
    except _BROKEN:
        return None


def _places(elf: Any, names: tuple[str, ...]) -> dict[str, Function]:
    found = _symbols(elf, list(names))
    return {
        name: Function(address=symbol["st_value"], size=symbol["st_size"])
        for name, symbol in found
        if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["type"] == "STT_FUNC"
    }


def _executable_sections(elf: Any) -> tuple[Section, ...]:
    return tuple(
        Section(
            name=section.name,
            address=section["sh_addr"],
            offset=section["sh_offset"],
            size=section["sh_size"],
        )
        for section in elf.iter_sections()
        if section["sh_flags"] & _EXECINSTR and section["sh_type"] == "SHT_PROGBITS"
        if section["sh_offset"] + section["sh_size"] <= _MOST_OFFSET
    )


def _imports(elf: Any) -> dict[int, str]:
    """Names by the address of the pointer that a linkage stub jumps through."""
    symbols = elf.get_section_by_name(".dynsym")
    found: dict[int, str] = {}
    if symbols is None:
        return found
    for name in (".rela.plt", ".rela.dyn"):
        table = elf.get_section_by_name(name)
        if table is None or table["sh_size"] > _MOST_RELOCATIONS:
            continue
        for row in table.iter_relocations():
            if row["r_info_sym"]:
                found[row["r_offset"]] = symbols.get_symbol(row["r_info_sym"]).name
    return found


def _read(elf: Any, file: IO[bytes], wanted: tuple[str, ...], markers: tuple[str, ...]) -> ElfFacts:
    strings = elf.get_section_by_name(".dynstr")
    if strings is None or strings["sh_size"] > _MOST_NAMES:
        return ElfFacts()
    file.seek(strings["sh_offset"])
    names = b"\0" + file.read(strings["sh_size"])
    # Most files have none of them: one search saves the walk over their symbols.
    present = [name for name in (*wanted, *markers) if b"\0%b\0" % name.encode() in names]
    defined = _functions(elf, present)
    functions = {name: at for name, at in defined.items() if name in wanted}
    found = frozenset(defined.keys() - functions.keys())
    if not defined:
        return ElfFacts()
    return ElfFacts(
        functions=functions, build_id=_build_id(elf), version=_version(file), names=found
    )


def _functions(elf: Any, names: list[str]) -> dict[str, int]:
    """File offsets of the functions that this file defines (not of those it imports)."""
    if not names:
        return {}
    loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
    offsets: dict[str, int] = {}
    for name, symbol in _symbols(elf, names):
        if symbol["st_shndx"] == "SHN_UNDEF" or symbol["st_info"]["type"] != "STT_FUNC":
            continue
        for load in loads:
            inside = symbol["st_value"] - load["p_vaddr"]
            if 0 <= inside < load["p_filesz"]:
                offsets[name] = inside + load["p_offset"]
    return offsets


def _symbols(elf: Any, names: list[str]) -> list[tuple[str, Any]]:
    """Dynamic symbols by the file's own hash table where it has one, else by a walk."""
    for section in (".gnu.hash", ".hash"):
        table = elf.get_section_by_name(section)
        if table is not None:
            found = [(name, table.get_symbol(name)) for name in names]
            return [(name, symbol) for name, symbol in found if symbol is not None]
    table = elf.get_section_by_name(".dynsym")
    if table is None or table["sh_size"] > _MOST_SYMBOLS:
        return []
    wanted = set(names)
    return [(symbol.name, symbol) for symbol in table.iter_symbols() if symbol.name in wanted]


def _build_id(elf: Any) -> str:
    section = elf.get_section_by_name(".note.gnu.build-id")
    if section is None:
        return ""
    for note in section.iter_notes():
        if note["n_type"] == "NT_GNU_BUILD_ID":
            return str(note["n_desc"])
    return ""


def _version(file: IO[bytes]) -> str:
    file.seek(0)
    match = _VERSION.search(file.read(_VERSION_BYTES))
    return match[1].decode("ascii") if match else ""
