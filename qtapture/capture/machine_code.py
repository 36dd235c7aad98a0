"""The machine code of one file: functions, sections and imports by address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from qtapture.capture.disassembly import iter_instructions

__all__ = ["Code", "Function", "Section"]

_STUB_SIZE = 16  # of an entry in a procedure linkage table


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """Where a function is in memory, relative to the file's load address."""

    address: int
    size: int

    def holds(self, address: int) -> bool:
        """Whether an address lies in it."""
        return self.address <= address < self.address + self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One executable section."""

    name: str
    address: int
    offset: int  # in the file
    size: int

    def holds(self, address: int) -> bool:
        """Whether an address lies in it."""
        return self.address <= address < self.address + self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """``imports``: name of the function by address of the pointer that a stub jumps through."""

    file: IO[bytes]
    functions: Mapping[str, Function]
    sections: tuple[Section, ...]
    imports: Mapping[int, str]

    def read(self, address: int, size: int) -> bytes:
        """Bytes at an address, fewer where its section ends, none where there is none."""
        section = self._section(address)
        if section is None:
            return b""
        at = address - section.address
        self.file.seek(section.offset + at)
        return self.file.read(min(size, section.size - at))

    def is_text(self, address: int) -> bool:
        """Whether an address is in the program proper, not in a linkage table."""
        section = self._section(address)
        return section is not None and not section.name.startswith(".plt")

    def imported(self, address: int) -> str:
        """Name of the function that a stub leads to, empty if the address is no stub."""
        section = self._section(address)
        if section is None or not section.name.startswith(".plt"):
            return ""
        for instruction in iter_instructions(self.read(address, _STUB_SIZE), address):
            if instruction.slot is not None:
                return self.imports.get(instruction.slot, "")
        return ""

    def maybe_offset(self, address: int) -> int | None:
        """Where in the file an address is."""
        section = self._section(address)
        return None if section is None else section.offset + address - section.address

    def _section(self, address: int) -> Section | None:
        return next((section for section in self.sections if section.holds(address)), None)
