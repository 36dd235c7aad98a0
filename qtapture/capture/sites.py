"""Cheap attach points, proved by disassembly: where the kernel emulates the probed instruction.

The kernel emulates a ``push`` in the trap itself (0.6 us) and runs most other instructions out of
line, stepping over them (10 us on a virtual machine). Exported functions of libssl begin with the
latter; the internal function that SSL_read and SSL_read_ex both call begins with a push, and its
arguments are theirs. It also serves callers that the exported functions never see (BIO_f_ssl).

Pure: code in, sites out. Nothing is taken for granted: where a step of the proof fails, the
exported functions are probed, and ``why`` says which step.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from qtapture.capture.disassembly import Instruction, iter_instructions
from qtapture.capture.machine_code import Code, Function

__all__ = ["Family", "Site", "is_emulated", "is_probeable", "plan_site"]

_MOST_STEPS = 400  # of one exported function; they have 10 to 40
_CALL = b"\xe8"  # call rel32
_ENDBR64 = bytes.fromhex("f30f1efa")
_ARGUMENTS = frozenset({"rdi", "rsi", "rdx"})
_DONE = frozenset({"rcx", "r8"})
_POINTS_TO_STACK = re.compile(r"mov r\w+, rsp|lea r\w+, \[rsp(?: \+ \w+)?\]")
_LONGEST_INSTRUCTION = 15
_NEVER_RETURN = frozenset({"__stack_chk_fail", "abort", "OPENSSL_die"})
_SIGN_EXTENSIONS = frozenset({"rdx, edx", "edx, edx", "rdx, rdx"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Functions that end in one: ``plain`` returns a count, ``extended`` puts it at a pointer."""

    plain: str
    extended: str
    # From OpenSSL 3.3 on SSL_write_ex only calls SSL_write_ex2, which takes flags too.
    through: str = ""
    entry_only: bool = False  # its return is of no interest

    @property
    def names(self) -> tuple[str, ...]:
        """All its exported functions."""
        return tuple(name for name in (self.plain, self.extended, self.through) if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where to probe. ``kind``: internal (the common function), call (what calls it) or exported.

    ``emulated``: the kernel need not step over the instruction. ``why``: what forbade a better one.
    """

    kind: str
    offsets: tuple[int, ...] = ()  # in the file; empty where the exported functions are probed
    done: str = ""  # the register with the pointer to the count: rcx or r8
    emulated: bool = True
    why: str = ""


class _NoProofError(Exception):
    """A step of the proof failed."""


def is_emulated(code: bytes) -> bool:
    """Whether the kernel emulates the first instruction: push of a whole register, or nop."""
    if code[:1] == b"\x41":
        return 0x50 <= code[1] <= 0x57 if len(code) > 1 else False  # noqa: PLR2004 - push r8..r15
    return bool(code) and (0x50 <= code[0] <= 0x57 or code[0] == 0x90)  # noqa: PLR2004


def is_probeable(code: bytes) -> bool:
    """Whether these are the bytes of a site: emulated, or a call."""
    return is_emulated(code) or code[:1] == _CALL


def plan_site(code: Code, family: Family) -> Site:
    """The cheapest places for a family that can be proved to be as good as its functions."""
    entries = [code.functions[name] for name in family.names if name in code.functions]
    if entries and all(is_emulated(code.read(entry.address, 2)) for entry in entries):
        return Site(kind="exported")
    try:
        return _proved(code, family)
    except _NoProofError as error:
        return Site(kind="exported", emulated=False, why=str(error))


def _proved(code: Code, family: Family) -> Site:
    for name in (family.plain, family.extended):
        if name not in code.functions:
            raise _NoProofError(f"there is no {name}")
    plain = _calls(code, family.plain)
    extended = _calls(code, _last(code, family))
    alike = {
        target: done
        for target in plain.keys() & extended.keys()
        if len(done := _done(plain[target], extended[target])) == 1
    }
    if len(alike) != 1:
        raise _NoProofError(f"no function that both call alike ({len(alike)} candidates)")
    ((target, done),) = alike.items()
    entry = _maybe_entry(code, target)
    if entry is not None:
        return Site(kind="internal", offsets=_offsets(code, {entry}), done=next(iter(done)))
    if not family.entry_only:
        raise _NoProofError("the common function does not begin with a push")
    # A call is emulated too, and has the arguments in place.
    calls = plain[target].calls | extended[target].calls
    return Site(kind="call", offsets=_offsets(code, calls))


def _offsets(code: Code, addresses: Iterable[int]) -> tuple[int, ...]:
    places = (code.maybe_offset(address) for address in sorted(addresses))
    return tuple(place for place in places if place is not None)


def _done(plain: "_State", extended: "_State") -> frozenset[str]:
    """Registers with the pointer to the count, at a call that has the arguments of both."""
    if _ARGUMENTS & (plain.changed | extended.changed):
        return frozenset()
    return plain.stack - extended.changed


def _last(code: Code, family: Family) -> str:
    """The function in which the extended form makes its call."""
    if not family.through or family.through not in code.functions:
        return family.extended
    function = code.functions.get(family.extended)
    if function is None:
        return family.extended
    content = code.read(function.address, function.size)
    targets = {i.target for i in iter_instructions(content, function.address)} - {None}
    hops = {code.imported(target) for target in targets if target is not None}
    direct = code.functions[family.through].address in targets  # linked with -Bsymbolic
    return family.through if direct or family.through in hops else family.extended


def _maybe_entry(code: Code, target: int) -> int | None:
    head = code.read(target, 16)
    if head.startswith(_ENDBR64):
        # Behind it the stack pointer is as at the entry, so a return probe works there too.
        return target + len(_ENDBR64) if is_emulated(head[len(_ENDBR64) :]) else None
    return target if is_emulated(head) else None


@dataclass(frozen=True, slots=True)
class _State:
    """What became of the arguments on a way: which changed, which now point into the stack."""

    changed: frozenset[str] = frozenset()
    stack: frozenset[str] = frozenset()
    calls: frozenset[int] = frozenset()  # addresses of the calls that were reached so

    def joined(self, other: "_State") -> "_State":
        """What holds on both ways."""
        return _State(
            self.changed | other.changed, self.stack & other.stack, self.calls | other.calls
        )


def _calls(code: Code, name: str) -> dict[int, _State]:
    """Targets of direct calls and tail calls out of a function, not of those through the PLT."""
    function = code.functions[name]
    reached: dict[int, _State] = {}
    ways = [(function.address, _State())]
    seen: set[tuple[int, _State]] = set()
    while ways:
        way = ways.pop()
        at, state = way
        if way in seen:
            continue
        seen.add(way)
        instruction = _decoded(code, at)
        if instruction is None or len(seen) > _MOST_STEPS:
            raise _NoProofError(f"{name} cannot be followed")
        target = _callee(code, instruction, function)
        if target is not None:
            here = replace(state, calls=frozenset({at}))
            reached[target] = here.joined(reached.get(target, here))
        after = _after(instruction, state)
        if code.imported(instruction.target or 0) not in _NEVER_RETURN:
            ways += [(following, after) for following in _following(instruction, function)]
    return reached


def _decoded(code: Code, address: int) -> Instruction | None:
    content = code.read(address, _LONGEST_INSTRUCTION)
    return next(iter_instructions(content, address), None)


def _callee(code: Code, instruction: Instruction, function: Function) -> int | None:
    target = instruction.target
    if target is None or not code.is_text(target):
        return None
    tail_call = instruction.is_jump and not function.holds(target)
    return target if instruction.is_call or tail_call else None


def _after(instruction: Instruction, state: _State) -> _State:
    if instruction.is_call:
        return _State(_ARGUMENTS | _DONE, frozenset())
    writes = instruction.writes & (_ARGUMENTS | _DONE)
    if writes == {"rdx"} and instruction.operands in _SIGN_EXTENSIONS:
        return state
    stack = state.stack - writes
    first = instruction.operands.partition(",")[0]
    if first in _DONE and _POINTS_TO_STACK.fullmatch(
        f"{instruction.mnemonic} {instruction.operands}"
    ):
        stack |= {first}
    return _State(state.changed | writes, stack)


def _following(instruction: Instruction, function: Function) -> Iterator[int]:
    target = instruction.target
    # A branch may lead to a cold part, elsewhere; a jump out of the function is a tail call.
    if target is not None and (
        instruction.is_branch or (instruction.is_jump and function.holds(target))
    ):
        yield target
    leaves = function.holds(instruction.address) and not function.holds(instruction.end)
    if not (instruction.is_jump or instruction.is_end or leaves):
        yield instruction.end  # behind the last one stands another function: that call is the end
