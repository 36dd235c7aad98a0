"""Where this kernel keeps the fields that probes read: struct offsets from its BTF.

libbpf's BTF reader by ctypes (9 ms for vmlinux): a parser of our own would be the same code
again.
"""

import ctypes
from collections.abc import Iterable

from qtapture.capture.libbpf import open_libbpf
from qtapture.errors import HostError

__all__ = ["field_offsets"]

_KIND_STRUCT = 4  # BTF_KIND_STRUCT, include/uapi/linux/btf.h
_KIND_UNION = 5
_MODIFIERS = frozenset({8, 9, 10, 11, 18})  # typedef, volatile, const, restrict, type tag
_KIND_FLAG = 1 << 31  # the member's offset has a bit-field size in its upper byte
_DEEPEST = 16  # anonymous members within each other; the kernel has three


class _Type(ctypes.Structure):
    # struct btf_type
    _fields_ = (("name", ctypes.c_uint32), ("info", ctypes.c_uint32), ("size", ctypes.c_uint32))


class _Member(ctypes.Structure):
    # struct btf_member
    _fields_ = (("name", ctypes.c_uint32), ("type", ctypes.c_uint32), ("offset", ctypes.c_uint32))


class _Btf:
    """The host's BTF, opened."""

    def __init__(self) -> None:
        lib = open_libbpf()
        lib.btf__load_vmlinux_btf.restype = ctypes.c_void_p
        lib.btf__type_by_id.restype = ctypes.c_void_p
        lib.btf__type_by_id.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__name_by_offset.restype = ctypes.c_char_p
        lib.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
        lib.btf__free.argtypes = [ctypes.c_void_p]
        self._lib = lib
        self._btf = lib.btf__load_vmlinux_btf()
        if not self._btf:
            raise HostError("this kernel has no BTF (/sys/kernel/btf/vmlinux), which probes need")

    def close(self) -> None:
        self._lib.btf__free(self._btf)

    def offset(self, struct: str, field: str) -> int:
        """Bytes from the start of ``struct`` to ``field``, -1 where there is none."""
        number = int(self._lib.btf__find_by_name_kind(self._btf, struct.encode(), _KIND_STRUCT))
        if number <= 0:
            return -1
        found = self._find(number, field.encode(), _DEEPEST)
        return -1 if found is None else found // 8

    def _find(self, number: int, field: bytes, depth: int) -> int | None:
        """The offset in bits, through anonymous structs and unions."""
        address = self._struct(number)
        if address is None or depth == 0:
            return None
        head = _Type.from_address(address)
        count = head.info & 0xFFFF
        for at in range(count):
            place = address + ctypes.sizeof(_Type) + at * ctypes.sizeof(_Member)
            member = _Member.from_address(place)
            bits = member.offset & 0xFFFFFF if head.info & _KIND_FLAG else member.offset
            name = self._lib.btf__name_by_offset(self._btf, member.name)
            if name == field:
                return int(bits)
            inner = None if name else self._find(member.type, field, depth - 1)
            if inner is not None:
                return int(bits) + inner
        return None

    def _struct(self, number: int) -> int | None:
        for _ in range(_DEEPEST):
            address: int | None = self._lib.btf__type_by_id(self._btf, number)
            if not address:
                return None
            head = _Type.from_address(address)
            kind = (head.info >> 24) & 0x1F
            if kind in {_KIND_STRUCT, _KIND_UNION}:
                return address
            if kind not in _MODIFIERS:
                return None
            number = head.size  # the same word: a modifier has the type there
        return None


def field_offsets(fields: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Offset in bytes of each (struct, field) in the running kernel; -1 where it has none.

    Raises:
        HostError: no libbpf, or no BTF.
    """
    btf = _Btf()
    try:
        return {(struct, field): btf.offset(struct, field) for struct, field in fields}
    finally:
        btf.close()
