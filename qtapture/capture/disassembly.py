"""x86-64 machine code as facts: where an instruction goes, what it writes. The door to capstone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from capstone import CS_ARCH_X86, CS_MODE_64, Cs
from capstone.x86 import X86_OP_IMM, X86_OP_MEM, X86_REG_RIP

__all__ = ["Instruction", "iter_instructions"]

# A register and its parts are one: writing edx changes rdx.
_PARTS = {
    "rdi": ("rdi", "edi", "di", "dil"),
    "rsi": ("rsi", "esi", "si", "sil"),
    "rdx": ("rdx", "edx", "dx", "dl", "dh"),
    "rcx": ("rcx", "ecx", "cx", "cl", "ch"),
    "r8": ("r8", "r8d", "r8w", "r8b"),
    "rsp": ("rsp", "esp", "sp", "spl"),
}
_WHOLE = {part: whole for whole, parts in _PARTS.items() for part in parts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction. ``target``: of a direct call or jump; ``slot``: read by an indirect one."""

    address: int
    code: bytes
    mnemonic: str
    operands: str
    writes: frozenset[str]  # argument registers and rsp, by their whole names
    target: int | None = None
    slot: int | None = None  # address of the pointer that `jmp [rip + x]` takes

    @property
    def end(self) -> int:
        """Address of the next one in memory."""
        return self.address + len(self.code)

    @property
    def is_call(self) -> bool:
        """A near call."""
        return self.mnemonic == "call"

    @property
    def is_jump(self) -> bool:
        """Never goes on to the next one."""
        return self.mnemonic in {"jmp", "bnd jmp", "notrack jmp"}

    @property
    def is_branch(self) -> bool:
        """May go elsewhere or on."""
        return self.mnemonic.startswith("j") and not self.is_jump

    @property
    def is_end(self) -> bool:
        """Nothing follows it."""
        return self.mnemonic in {"ret", "bnd ret", "hlt", "ud2", "int3"}


def iter_instructions(code: bytes, address: int) -> Iterator[Instruction]:
    """Decode from the start, until bytes are no instruction."""
    engine = Cs(CS_ARCH_X86, CS_MODE_64)
    engine.detail = True
    for found in engine.disasm(code, address):
        yield _instruction(found)


def _instruction(found: Any) -> Instruction:
    _, written = found.regs_access()
    names = (found.reg_name(register) for register in written)
    target = slot = None
    if found.mnemonic.removeprefix("bnd ").removeprefix("notrack ").startswith(("j", "call")):
        target, slot = _destination(found)
    return Instruction(
        address=found.address,
        code=bytes(found.bytes),
        mnemonic=found.mnemonic,
        operands=found.op_str,
        writes=frozenset(_WHOLE[name] for name in names if name in _WHOLE),
        target=target,
        slot=slot,
    )


def _destination(found: Any) -> tuple[int | None, int | None]:
    operand = found.operands[0]
    if operand.type == X86_OP_IMM:
        return int(operand.imm), None
    if operand.type == X86_OP_MEM and operand.mem.base == X86_REG_RIP:
        return None, int(found.address + found.size + operand.mem.disp)
    return None, None
