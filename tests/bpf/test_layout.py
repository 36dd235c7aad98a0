"""bpf/qtapture.h as a compiler sees it, held against the structs that replay reads.

The compiler is the oracle: it is asked for every sizeof and offsetof by name.
"""

import re
import shutil
import subprocess

import pytest

from qtapture import resources
from qtapture.reassembly import samples
from qtapture.reassembly.layout import LAYOUTS

HEADER = resources.folder("bpf") / "qtapture.h"
COMPILERS = [name for name in ("cc", "clang", "clang-14") if shutil.which(name)]

PRELUDE = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
typedef uint8_t __u8; typedef uint16_t __u16; typedef uint32_t __u32; typedef uint64_t __u64;
typedef int8_t __s8; typedef int16_t __s16; typedef int32_t __s32; typedef int64_t __s64;
#include "qtapture.h"
int main(void) {
"""


def answers(compiler, folder, statements):
    """What a program of these statements prints, as name -> numbers."""
    source = folder / "ask.c"
    source.write_text(PRELUDE + "\n".join(statements) + "\nreturn 0;\n}\n")
    program = folder / "ask"
    subprocess.run(
        [compiler, "-Wall", "-Werror", f"-I{HEADER.parent}", str(source), "-o", str(program)],
        check=True,
    )
    text = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    return {line.split()[0]: tuple(map(int, line.split()[1:])) for line in text.splitlines()}


@pytest.fixture(scope="module", params=COMPILERS)
def compiler(request):
    return request.param


def test_a_compiler_is_here():
    assert COMPILERS


def test_every_field_lies_where_the_compiler_puts_it(compiler, tmp_path):
    asked = []
    for layout in LAYOUTS.values():
        struct = f"struct {layout.name}"
        asked.append(f'printf("{layout.name} %zu\\n", sizeof({struct}));')
        asked.extend(
            f'printf("{layout.name}.{name} %zu %zu\\n", offsetof({struct}, {name}), '
            f"sizeof((({struct} *)0)->{name}));"
            for name in layout.offsets()
        )
    found = answers(compiler, tmp_path, asked)
    for layout in LAYOUTS.values():
        assert found[layout.name] == (layout.size,), layout.name
        for name, place in layout.offsets().items():
            assert found[f"{layout.name}.{name}"] == place, f"{layout.name}.{name}"


def test_no_struct_of_the_header_and_no_field_is_forgotten():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    structs = dict(re.findall(r"struct (qt_\w+) \{(.*?)\n\};", text, flags=re.DOTALL))
    assert structs.keys() == LAYOUTS.keys()
    for name, body in structs.items():
        fields = re.findall(r"(\w+)(?:\[\d+\])?;", body)
        known = {field.split(".")[0] for field, _ in LAYOUTS[name].fields}
        assert set(fields) == known, name


def test_structs_have_no_padding_and_no_holes(compiler, tmp_path):
    flags = ["-Wpadded", "-Werror", "-fsyntax-only", f"-I{HEADER.parent}"]
    source = tmp_path / "padded.c"
    source.write_text(PRELUDE + "return 0;\n}\n")
    subprocess.run([compiler, *flags, str(source)], check=True)


@pytest.mark.parametrize(
    ("prefix", "enum", "skipped"),
    [
        ("QT_", samples.SampleType, set()),
        ("QT_KIND_", samples.Kind, set()),
        ("QT_F_", samples.Flag, set()),
        ("QT_MISSING_", samples.Missing, set()),
        ("QT_JOIN_", samples.Join, set()),
    ],
)
def test_every_number_is_the_headers(compiler, tmp_path, prefix, enum, skipped):
    asked = [f'printf("{m.name} %d\\n", (int){prefix}{m.name});' for m in enum]
    assert answers(compiler, tmp_path, asked) == {m.name: (m.value,) for m in enum}
