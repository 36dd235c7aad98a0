"""From the dual-dialect source in bpf/ to the text that bcc compiles.

bcc refuses map methods inside macros, so declarations of maps are expanded here, textually:
``QT_HASH(name, K, V, N)`` becomes a table and one inline function for each thing that is done
with it. Pure: text in, text out.
"""

import re
from collections.abc import Callable, Mapping

__all__ = [
    "amalgamated",
    "expanded",
    "fields_used",
    "map_names",
    "offsets_header",
]


_INCLUDE = re.compile(r'^#include "([^"]+)"$', re.MULTILINE)
_MAP = re.compile(r"^QT_(HASH|LRU|PERCPU|ARRAY|PERF|PROGS)\(([^)]*)\)$", re.MULTILINE)
_FIELD = re.compile(r"\bQT_(?:KREAD\([^,]+, [^,]+|ADDR\([^,]+), (\w+), (\w+)\)")
_TABLES = {"HASH": "hash", "LRU": "lru_hash", "PERCPU": "percpu_array", "ARRAY": "array"}


def amalgamated(name: str, read: Callable[[str], str]) -> str:
    """The file with its local includes in place of their lines, each file once."""
    seen: set[str] = set()

    def text_of(file: str) -> str:
        seen.add(file)
        return _INCLUDE.sub(included, read(file))

    def included(match: re.Match[str]) -> str:
        file = match[1]
        # What only the other compiler includes is in the source too, behind QT_BCC.
        return "" if file in seen or file == "kernel_types.h" else text_of(file)

    return text_of(name)


def expanded(text: str) -> str:
    """The text with map declarations written out for bcc."""
    return _MAP.sub(_table, text)


def map_names(text: str) -> tuple[str, ...]:
    """Names of all maps that the text declares, in order."""
    return tuple(match[2].split(",")[0].strip() for match in _MAP.finditer(text))


def fields_used(text: str) -> frozenset[tuple[str, str]]:
    """(struct, field) of everything that is read out of kernel memory."""
    return frozenset((m[1], m[2]) for m in _FIELD.finditer(text) if m[1] != "T")


def offsets_header(offsets: Mapping[tuple[str, str], int]) -> str:
    """``qt_offsets.h``: where this kernel has each field.

    What it has not (a negative offset) is left out, so that only programs which need it fail.
    """
    rows = [f"#define QT_OFF_{t}__{f} {at}\n" for (t, f), at in sorted(offsets.items()) if at >= 0]
    return "".join(rows)


def _table(match: re.Match[str]) -> str:
    kind = match[1]
    name, *rest = (part.strip() for part in match[2].split(","))
    if kind == "PERF":
        return (
            f"BPF_PERF_OUTPUT({name});\n"
            f"static inline long {name}_out(void *ctx, void *data, u64 size)"
            f" {{ return {name}.perf_submit(ctx, data, size); }}\n"
        )
    if kind == "PROGS":
        return (
            f"BPF_PROG_ARRAY({name}, {rest[0]});\n"
            f"static inline void {name}_jump(void *ctx, u32 at) {{ {name}.call(ctx, at); }}\n"
        )
    long = "static inline long"
    key, value, size = ["u32", *rest] if kind in {"PERCPU", "ARRAY"} else rest
    functions = [
        f"static inline {value} *{name}_get({key} *k) {{ return {name}.lookup(k); }}",
        f"{long} {name}_set({key} *k, {value} *v) {{ return {name}.update(k, v); }}",
    ]
    if kind in {"HASH", "LRU"}:
        functions += [
            f"{long} {name}_add({key} *k, {value} *v) {{ return {name}.insert(k, v); }}",
            f"{long} {name}_del({key} *k) {{ return {name}.delete(k); }}",
        ]
    table = f'BPF_TABLE("{_TABLES[kind]}", {key}, {value}, {name}, {size});'
    return "\n".join([table, *functions]) + "\n"
