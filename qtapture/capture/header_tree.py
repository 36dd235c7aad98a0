"""The include tree that bcc compiles against: ten small files instead of kernel headers.

bcc carries its own copy of ``bpf.h`` and asks for nothing more than these (helpers.h of bcc 0.18
to 0.37), so no kernel headers need to be on the host.
"""

import platform
from pathlib import Path

from qtapture.errors import HostError

__all__ = ["target_arch", "write_header_tree"]

_TYPES = """\
typedef unsigned char u8, __u8;
typedef unsigned short u16, __u16, __be16, __le16, __sum16;
typedef unsigned int u32, __u32, __be32, __le32, __wsum;
typedef unsigned long long u64, __u64, __be64, __le64;
typedef signed char s8, __s8;
typedef short s16, __s16;
typedef int s32, __s32;
typedef long long s64, __s64;
typedef __u64 __attribute__((aligned(8))) __aligned_u64;
typedef unsigned long size_t;
typedef unsigned long uintptr_t;
typedef int pid_t;
typedef _Bool bool;
#define NULL ((void *)0)
"""
_BPF_COMMON = """\
#define BPF_LD 0
#define BPF_LDX 1
#define BPF_ST 2
#define BPF_STX 3
#define BPF_ALU 4
#define BPF_JMP 5
#define BPF_W 0
#define BPF_H 8
#define BPF_B 16
"""
# Only kernels before 5.0 are asked their version by the loader, and those are too old anyway.
_VERSION = """\
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 10, 0)
"""
# Names as in arch/*/include/asm/ptrace.h.
_REGISTERS = {
    "x86_64": """\
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
};
""",
    "aarch64": """\
struct user_pt_regs { u64 regs[31]; u64 sp; u64 pc; u64 pstate; };
struct pt_regs { u64 regs[31]; u64 sp; u64 pc; u64 pstate; u64 orig_x0; s32 syscallno; };
""",
}
_ARCHES = {"x86_64": "x86", "aarch64": "arm64"}


def target_arch() -> str:
    """The kernel's word for this machine: x86 or arm64.

    Raises:
        HostError: another machine.
    """
    machine = platform.machine()
    if machine not in _ARCHES:
        raise HostError(f"probes exist for x86-64 and arm64, not for {machine}")
    return _ARCHES[machine]


def write_header_tree(root: Path, offsets: str) -> None:
    """Write the files below ``root``/include; ``offsets`` becomes ``qt_offsets.h``."""
    files = {
        "linux/kconfig.h": "#define CONFIG_BPF_SYSCALL 1\n",
        "linux/types.h": _TYPES,
        "linux/bpf_common.h": _BPF_COMMON,
        "linux/version.h": _VERSION,
        "linux/log2.h": "",
        "asm/page.h": "#define PAGE_SHIFT 12\n#define PAGE_SIZE 4096\n",
        "uapi/linux/bpf.h": "",
        "uapi/linux/if_packet.h": "",
        "uapi/linux/ptrace.h": _REGISTERS[platform.machine()],
        "qt_offsets.h": offsets,
    }
    for name, text in files.items():
        path = root / "include" / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(text)
