"""Libraries written in assembly, so that a test says which instructions stand where."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

# As compilers write SSL_read and SSL_read_ex around a common function.
PLAIN = """
    sub $0x18, %rsp
    test %edx, %edx
    js 1f
    lea 8(%rsp), %rcx
    movslq %edx, %rdx
    call inner
    test %eax, %eax
    jle 2f
    mov 8(%rsp), %eax
2:  add $0x18, %rsp
    ret
1:  call complain@PLT
    xor %edx, %edx
    mov $-1, %eax
    jmp 2b
"""
EXTENDED = """
    sub $8, %rsp
    call inner
    xor %edx, %edx
    add $8, %rsp
    ret
"""
INNER = """
    push %rbx
    mov %rdi, %rbx
    mov $1, %eax
    pop %rbx
    ret
"""


def assembled(
    folder: Path, functions: Mapping[str, str], *flags: str, local: tuple[str, ...] = ("inner",)
) -> Path:
    """A shared library with these functions; those in ``local`` are not exported."""
    text = [".text"]
    for name, body in functions.items():
        if name not in local:
            text.append(f".globl {name}")
        text += [f".type {name}, @function", f"{name}:", body, f".size {name}, .-{name}"]
    text.append('.section .note.GNU-stack,"",@progbits\n')
    source = folder / "made.S"
    source.write_text("\n".join(text))
    out = folder / "libmade.so"
    subprocess.run(["gcc", "-shared", "-nostdlib", *flags, "-o", out, source], check=True)
    return out
