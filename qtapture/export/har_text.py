"""Bodies as text: which types are text, and which charsets are read.

Charsets come from a list: Python's own has codecs that are none (zip, idna, unicode_escape), looks
for modules by names that strangers sent, and remembers each of them.
"""

import codecs
import re
from dataclasses import dataclass

__all__ = ["UNKNOWN", "Text", "maybe_text"]

UNKNOWN = "x-unknown"  # no type was said: as browsers write it

_TEXT_TYPES = re.compile(
    r"text/|multipart/|application/(?:x-)?(?:json|ndjson|xml|javascript|ecmascript|yaml|toml"
    r"|www-form-urlencoded|graphql|sql|mpegurl)\b|[^;+]{1,200}\+(?:json|xml|text|yaml)\b",
    re.IGNORECASE,
)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_:\-]{1,40})", re.IGNORECASE)

# Python's name of each charset, then what else it is called (encoding.spec.whatwg.org, and a few
# that mail has). The names that begin with a codec's own family are made below.
_NAMES = """
utf-8 utf8 unicode-1-1-utf-8
ascii us-ascii ansi-x3.4-1968 iso646-us
iso8859-1 latin1 l1
cp1252 ansi
cp874 windows-874 dos-874 tis-620 iso-8859-11
cp866 ibm866 866 csibm866
koi8-r koi8 koi cskoi8r
koi8-u koi8-ru
mac-roman macintosh mac x-mac-roman
mac-cyrillic x-mac-cyrillic x-mac-ukrainian
gb18030 gbk gb2312 x-gbk gb-2312-80 chinese cp936 csgb2312
big5hkscs big5 big5-hkscs cn-big5 csbig5 x-x-big5
euc-jp x-euc-jp eucjp
iso2022-jp iso-2022-jp csiso2022jp
cp932 shift-jis sjis x-sjis windows-31j ms932 csshiftjis
cp949 euc-kr euckr ks-c-5601-1987 ksc5601 korean windows-949 cseuckr
utf-16-le utf-16le ucs-2 unicode iso-10646-ucs-2 csunicode
utf-16-be utf-16be unicodefffe
"""
_CODECS = {
    name: codec
    for codec, *names in (line.split() for line in _NAMES.strip().splitlines())
    for name in (codec, *names)
}
for _part in range(2, 17):
    if _part not in (11, 12):  # 12 was never published
        for _form in ("iso-8859-{}", "iso8859-{}", "iso8859{}"):
            _CODECS[_form.format(_part)] = f"iso8859-{_part}"
_CODECS["iso-8859-1"] = "iso8859-1"
for _part in range(1250, 1259):
    _CODECS |= dict.fromkeys((f"windows-{_part}", f"cp{_part}", f"x-cp{_part}"), f"cp{_part}")
# These give back the bytes that they were given, whatever those were.
_EXACT = frozenset(("utf-8", "ascii", "iso8859-1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text, and how many bytes it stands for: fewer than given where a character was cut."""

    text: str
    size: int


def maybe_text(raw: bytes, mime: str, *, cut: bool = False) -> Text | None:
    """The text; None for what is binary, or not in the charset that it claims.

    ``cut``: the bytes are the beginning of more, and may end inside a character.
    """
    claimed = _CHARSET.search(mime)
    if claimed is None and not (_TEXT_TYPES.match(mime) or (mime == UNKNOWN and b"\0" not in raw)):
        return None
    codec = _codec(claimed[1], raw) if claimed else "utf-8"
    return None if codec is None else _decoded(raw, codec, cut=cut)


def _codec(charset: str, raw: bytes) -> str | None:
    name = charset.lower().replace("_", "-")
    if name in {"utf-16", "utf16"}:  # little-endian unless marked: so do browsers
        return "utf-16-be" if raw.startswith(codecs.BOM_UTF16_BE) else "utf-16-le"
    return _CODECS.get(name)


def _decoded(raw: bytes, codec: str, *, cut: bool) -> Text | None:
    decoder = codecs.getincrementaldecoder(codec)("strict")
    try:
        text = decoder.decode(raw, final=not cut)
        size = len(raw) - len(decoder.getstate()[0])
        # What shows other bytes than were sent is no evidence of them.
        if codec not in _EXACT and text.encode(codec) != raw[:size]:
            return None
    except ValueError:
        return None
    return Text(text=text, size=size)
