"""Bodies in HAR: sizes, charsets, base64, files beside; and what becomes of those files."""

import base64
import gzip
import hashlib
import os
import stat

import pytest
from builders.hars import only, written
from builders.traffic import (
    MemoryBody,
    clock,
    connection,
    exchange,
    gzip_body,
    request,
    response,
    tables,
)

from qtapture.errors import UsageError
from qtapture.export import EXPORTS, ExportOptions

LARGE = 9 << 20
LIMIT = 8 << 20


def answered(*pairs, body):
    return exchange(request=request(), response=response(200, *pairs, body=body))


def content(folder, *pairs, body, **options):
    return only(written(folder, answered(*pairs, body=body), **options))["response"]["content"]


def test_a_gzip_body_has_the_right_sizes(tmp_path):
    content = b"the same again\n" * 400
    entry = only(
        written(tmp_path, exchange(request=request(), response=response(body=gzip_body(content))))
    )
    body = entry["response"]["content"]
    wire = len(gzip.compress(content, mtime=0))
    assert (body["size"], entry["response"]["bodySize"]) == (len(content), wire)
    assert body["compression"] == len(content) - wire
    assert body["text"] == content.decode()
    assert body["_qtapture"]["codings"] == ["gzip"]


def test_sizes_tell_the_wire_from_what_was_decoded(tmp_path):
    body = MemoryBody(encoded=b"x" * 40, decoded=b"y" * 30, codings=("br", "gzip"))
    entry = only(written(tmp_path, exchange(request=request(), response=response(body=body))))
    answer = entry["response"]
    assert (answer["bodySize"], answer["content"]["size"]) == (40, 30)
    assert answer["content"]["compression"] == -10
    assert answer["_transferSize"] == answer["headersSize"] + 40
    assert answer["content"]["_qtapture"]["codings"] == ["br", "gzip"]


def test_binary_bodies_are_base64_and_binary_uploads_stand_beside_an_empty_text(tmp_path):
    blob = bytes(range(256))
    kind = ("Content-Type", "application/octet-stream")
    entry = only(
        written(
            tmp_path,
            exchange(
                request=request("POST", "/", ("Host", "a"), kind, body=blob),
                response=response(200, kind, body=blob),
            ),
        )
    )
    assert base64.b64decode(entry["response"]["content"]["text"]) == blob
    assert entry["request"]["postData"]["text"] == ""
    assert base64.b64decode(entry["request"]["postData"]["_textBase64"]) == blob


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/html; charset=ISO-8859-2", "žluťoučký".encode("iso-8859-2"), "žluťoučký"),
        ('text/html; charset="utf-8"', "☃".encode(), "☃"),
        ("text/html; charset='UTF8'", "☃".encode(), "☃"),
        ("text/plain; charset=windows-1252", b"\x80", "€"),
        ("text/plain; charset=Shift_JIS", "日本".encode("shift_jis"), "日本"),
        ("text/plain; charset=utf-16", "\ufeff☃".encode("utf-16-be"), "\ufeff☃"),
        ("text/plain; charset=utf-16le", "☃".encode("utf-16-le"), "☃"),
        ("application/json", b"\xef\xbb\xbf{}", "\ufeff{}"),
        ("application/problem+json", b"{}", "{}"),
        ("image/svg+xml", b"<svg/>", "<svg/>"),
        ("application/x-www-form-urlencoded", b"a=1", "a=1"),
        ("text/plain", b"a\0b\x1b", "a\0b\x1b"),
        ("image/png; charset=utf-8", b"text after all", "text after all"),
        ("", b"no type", "no type"),
    ],
)
def test_text_is_read_in_the_charset_that_it_claims(tmp_path, kind, body, text):
    found = content(tmp_path, ("Content-Type", kind), body=body)
    assert found["text"] == text
    assert "encoding" not in found


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        *((f"text/plain; charset={name}", b"abc") for name in ("base64", "zip", "rot13", "utf-16")),
        *((f"text/plain; charset={name}", b"abc") for name in ("nonsense", "idna", "punycode")),
        ("text/plain; charset=unicode_escape", rb"\ud800"),
        ("text/plain; charset=utf-7", b"+2AA-"),
        ("text/plain; charset=utf-8", b"\xed\xa0\x80"),
        ("text/plain; charset=us-ascii", b"\xff"),
        ("text/plain; charset=utf-16le", b"\x00\xd8"),
        # Reads as text, which in this charset has other bytes.
        ("text/plain; charset=iso-2022-jp", b"\x1b(B\x1b(Babc"),
        ("text/html", "é".encode("latin-1")),
        ("application/octet-stream", b"abc"),
        ("image/png", b"abc"),
        ("", b"a\0"),
    ],
)
def test_what_is_not_text_of_a_known_charset_is_base64_and_exact(tmp_path, kind, body):
    found = content(tmp_path, ("Content-Type", kind), body=body)
    assert found["encoding"] == "base64"
    assert base64.b64decode(found["text"]) == body


def test_a_request_without_a_body_has_no_post_data(tmp_path):
    entry = only(written(tmp_path, exchange(request=request("POST"), response=response(204))))
    assert "postData" not in entry["request"]
    assert entry["request"]["bodySize"] == 0


def test_uploads_that_are_text_are_text(tmp_path):
    kind = ("Content-Type", "multipart/form-data; boundary=x")
    body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\xe2\x98\x83\r\n--x--\r\n"
    asked = request("POST", "/", ("Host", "a"), kind, body=body)
    data = only(written(tmp_path, exchange(request=asked)))["request"]["postData"]
    assert data == {"mimeType": kind[1], "text": body.decode()}


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_eight_mebibytes_are_the_most_that_stands_in_the_har_itself(tmp_path, size):
    found = content(tmp_path, body=b"a" * size)
    assert found["size"] == size
    assert len(found["text"]) == (size if size == LIMIT else 0)
    assert ("_qtapture" in found) == (size > LIMIT)


def test_a_large_body_is_a_file_beside_with_its_digest(tmp_path):
    blob = os.urandom(9 << 20)
    entry = only(written(tmp_path, exchange(request=request(), response=response(body=blob))))
    file = entry["response"]["content"]["_qtapture"]["file"]
    assert file["name"] == "out.har.files/1-response.body"
    assert (tmp_path / file["name"]).read_bytes() == blob
    assert file["sha256"] == hashlib.sha256(blob).hexdigest()
    assert entry["response"]["content"]["size"] == len(blob)


def test_large_uploads_are_files_too_and_decoded_ones_by_their_decoded_size(tmp_path):
    blob = os.urandom(LARGE)
    zeros = bytes(LARGE)
    entry = only(
        written(
            tmp_path,
            exchange(
                request=request("POST", "/", ("Host", "a"), body=blob),
                response=response(body=gzip_body(zeros)),
            ),
        )
    )
    sent = entry["request"]["postData"]
    assert sent["text"] == ""
    assert "_textBase64" not in sent
    name = sent["_qtapture"]["file"]["name"]
    assert (tmp_path / name).read_bytes() == blob
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    got = entry["response"]["content"]["_qtapture"]
    assert got["codings"] == ["gzip"]
    assert got["file"] == {
        "name": "out.har.files/1-response.body",
        "sha256": hashlib.sha256(zeros).hexdigest(),
        "size": LARGE,
    }


def test_without_files_a_large_body_is_cut_and_says_so(tmp_path):
    blob = b"a" * (9 << 20)
    entry = only(
        written(tmp_path, exchange(request=request(), response=response(body=blob)), no_files=True)
    )
    content = entry["response"]["content"]
    assert content["_qtapture"]["truncated"] == {"bytes": 1 << 20, "reason": "no_files"}
    assert len(content["text"]) == 8 << 20
    assert not (tmp_path / "out.har.files").exists()


def test_a_text_is_cut_between_characters(tmp_path):
    blob = b"a" + "☃".encode() * (LIMIT // 3 + 10)
    found = content(tmp_path, body=blob, no_files=True)
    shown = len(found["text"].encode())
    assert "encoding" not in found
    assert LIMIT - 3 < shown <= LIMIT
    assert found["_qtapture"]["truncated"]["bytes"] == len(blob) - shown


def test_stdout_gets_large_bodies_cut(capfdbinary):
    export = EXPORTS["har"].open(None, clock(), ExportOptions())
    export.begin(tables(connection()))
    export.exchange(answered(body=os.urandom(LARGE)))
    export.finish()
    assert b'"truncated":{"bytes":1048576,"reason":"no_files"}' in capfdbinary.readouterr().out


def test_a_body_that_cannot_be_decoded_is_shown_encoded_and_says_why(tmp_path):
    body = MemoryBody(encoded=b"\x00broken", undecodable="gzip: not gzip")
    entry = only(written(tmp_path, exchange(request=request(), response=response(body=body))))
    content = entry["response"]["content"]
    assert content["_qtapture"]["undecodable"] == "gzip: not gzip"
    assert base64.b64decode(content["text"]) == b"\x00broken"


def test_a_body_whose_decoding_stopped_says_so(tmp_path):
    body = MemoryBody(encoded=b"bomb", decoded=b"0" * 99, codings=("gzip",), decode_limited=True)
    found = content(tmp_path, body=body)
    assert found["_qtapture"] == {"codings": ["gzip"], "decode_limit": True}
    assert found["size"] == 99


# ---------------------------------------------------------------------- the files


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_abandoning_leaves_nothing(tmp_path):
    export = EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())
    export.begin(tables(connection()))
    export.exchange(exchange(request=request(), response=response(body=os.urandom(9 << 20))))
    export.abandon()
    export.abandon()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_har_is_kept(tmp_path):
    (tmp_path / "out.har").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())


def test_an_existing_folder_of_bodies_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "out.har.files").mkdir()
    with pytest.raises(UsageError, match=r"out\.har\.files: exists"):
        EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())
    assert names(tmp_path) == ["out.har.files"]


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_force_replaces_no_folder_that_is_not_ours(tmp_path, kind):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years")
    beside = tmp_path / "out.har.files"
    match kind:
        case "folder":
            mine.rename(beside)
        case "link":
            beside.symlink_to(mine)
        case "file":
            beside.write_text("mine")
    with pytest.raises(UsageError, match="not an earlier output"):
        EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions(force=True))
    assert next(tmp_path.rglob("thesis.tex")).read_text() == "years"


def test_force_replaces_the_bodies_of_the_har_that_it_replaces(tmp_path):
    written(tmp_path, answered(body=bytes(LARGE)))
    old = (tmp_path / "out.har.files" / "1-response.body").read_bytes()
    written(tmp_path, answered(body=bytes(LARGE + 1)))
    new = (tmp_path / "out.har.files" / "1-response.body").read_bytes()
    assert (len(old), len(new)) == (LARGE, LARGE + 1)
    written(tmp_path, answered(body=b"small"))
    assert names(tmp_path) == ["out.har"]


def test_a_har_that_cannot_take_its_name_leaves_no_bodies(tmp_path):
    export = EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())
    export.begin(tables(connection()))
    export.exchange(answered(body=bytes(LARGE)))
    (tmp_path / "out.har").write_text("somebody else's")
    with pytest.raises(UsageError, match="exists"):
        export.finish()
    export.abandon()
    assert names(tmp_path) == ["out.har"]
    assert (tmp_path / "out.har").read_text() == "somebody else's"


def test_what_was_finished_stays_whatever_is_abandoned_later(tmp_path):
    export = EXPORTS["har"].open(tmp_path / "out.har", clock(), ExportOptions())
    export.begin(tables(connection()))
    export.exchange(answered(body=bytes(LARGE)))
    export.finish()
    export.abandon()
    assert names(tmp_path) == ["out.har", "out.har.files"]
