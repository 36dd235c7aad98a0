"""The dual-dialect source becomes text that bcc takes."""

from pathlib import Path

from qtapture import resources
from qtapture.capture.dialect import (
    amalgamated,
    expanded,
    fields_used,
    map_names,
    offsets_header,
)
from qtapture.capture.programs import PROGRAMS


def source() -> str:
    """The real source, in one piece."""
    folder = Path(resources.folder("bpf"))
    return amalgamated("qtapture.bpf.c", lambda name: (folder / name).read_text())


def test_local_includes_are_put_in_once_and_others_stay() -> None:
    files = {
        "a.c": '#include "b.h"\n#include <x.h>\n#include "c.h"\nint a;\n',
        "b.h": '#include "c.h"\nint b;\n',
        "c.h": "int c;\n",
    }
    text = amalgamated("a.c", files.__getitem__)
    assert text.split() == ["int", "c;", "int", "b;", "#include", "<x.h>", "int", "a;"]


def test_a_map_becomes_a_table_and_one_function_for_each_use() -> None:
    text = expanded("QT_HASH(users, u32, struct x, 64)\n")
    assert 'BPF_TABLE("hash", u32, struct x, users, 64);' in text
    assert "struct x *users_get(u32 *k) { return users.lookup(k); }" in text
    assert "users_add" in text
    assert "users_del" in text


def test_an_array_has_no_keys_to_add_or_delete() -> None:
    text = expanded("QT_PERCPU(counts, struct qt_count, 6)\n")
    assert 'BPF_TABLE("percpu_array", u32, struct qt_count, counts, 6);' in text
    assert "counts_add" not in text
    assert "counts_del" not in text


def test_rings_and_program_arrays_have_their_own_verbs() -> None:
    text = expanded("QT_PERF(control)\nQT_PROGS(sock_more, 1)\n")
    assert "control.perf_submit(ctx, data, size)" in text
    assert "sock_more.call(ctx, at)" in text


def test_every_field_that_is_read_is_found() -> None:
    text = "QT_KREAD(x, sk, sock, sk_err); QT_ADDR(a, outer, inner) + QT_ADDR(0, inner, last)"
    assert fields_used(text) == {("sock", "sk_err"), ("outer", "inner"), ("inner", "last")}


def test_a_field_that_this_kernel_lacks_is_left_out_so_that_its_users_fail_alone() -> None:
    header = offsets_header({("sock", "sk_err"): 284, ("sock", "gone"): -1})
    assert header == "#define QT_OFF_sock__sk_err 284\n"


def test_every_program_of_the_table_is_in_the_source_and_the_other_way_round() -> None:
    text = source()
    in_source = {
        line.removeprefix("int ").partition("(")[0]
        for line in text.splitlines()
        if line.startswith("int on_")
    }
    assert in_source == set(PROGRAMS)


def test_every_map_of_the_real_source_is_named() -> None:
    names = map_names(source())
    assert {"control", "payload", "secrets", "counts", "socks", "ssls"} <= set(names)
    assert "QT_HASH(" not in expanded(source()).replace("#define QT_HASH(", "")


def test_programs_that_others_jump_to_name_an_array_that_exists() -> None:
    names = map_names(source())
    assert all(row.tail_of in names for row in PROGRAMS.values() if row.tail_of)
