"""Bodies in a HAR: text in their charset, base64, or a file beside where they are large."""

import base64
import codecs
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtapture.events import Body, Message
from qtapture.export.output import OutputFolder, open_private

__all__ = ["MOST_INLINE", "BodyFiles", "HarBody", "base64_of", "har_body", "is_body_folder"]

# What a viewer shows of one body before it stops to answer.
MOST_INLINE = 8 << 20
_TEXT_TYPES = re.compile(
    r"text/|application/(?:json|xml|javascript|ecmascript|x-www-form-urlencoded|graphql|sql)\b"
    r"|application/(?:x-)?(?:ndjson|yaml|toml)|[^;]+\+(?:json|xml|text)\b",
    re.IGNORECASE,
)
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:\-]{1,40})", re.IGNORECASE)
_BODY_NAME = re.compile(r"[0-9]+-(?:request|response)\.body")
_UNKNOWN_TYPE = "x-unknown"  # as browsers write it


@dataclass(frozen=True, slots=True, kw_only=True)
class HarBody:
    """``text`` or ``raw`` of what fits; ``marks`` say what was done (`_qtapture` of the body)."""

    mime: str
    text: str | None
    raw: bytes
    marks: dict[str, Any]


class BodyFiles:
    """The folder beside a HAR: made when the first large body comes."""

    def __init__(self, har: Path | None, *, force: bool) -> None:
        self._path = har.with_name(f"{har.name}.files") if har is not None else None
        self._force = force
        self._folder: OutputFolder | None = None

    @property
    def allowed(self) -> bool:
        """Whether files can be written at all."""
        return self._path is not None

    def write(self, name: str, body: Body) -> dict[str, Any]:
        """Write a decoded body; what the HAR says of it."""
        if self._path is None:
            raise AssertionError  # asked for without `allowed`
        if self._folder is None:
            self._folder = OutputFolder(self._path, is_ours=is_body_folder, force=self._force)
        digest = hashlib.sha256()
        size = 0
        with open_private(self._folder.at / name) as file:
            for piece in body.iter_decoded():
                digest.update(piece)
                size += len(piece)
                file.write(piece)
        return {"name": f"{self._path.name}/{name}", "sha256": digest.hexdigest(), "size": size}

    def commit(self) -> None:
        """Give the folder its name, if there is one."""
        if self._folder is not None:
            self._folder.commit()

    def abandon(self) -> None:
        """Remove what was written."""
        if self._folder is not None:
            self._folder.abandon()


def is_body_folder(path: Path) -> bool:
    """Whether a folder holds bodies of ours and nothing else."""
    return all(_BODY_NAME.fullmatch(entry.name) for entry in path.iterdir())


def har_body(message: Message, name: str, files: BodyFiles) -> HarBody:
    """A message's body for a HAR; ``name`` is that of its file where it needs one."""
    body = message.body
    mime = (message.header("content-type") or b"").decode("latin-1")
    marks = _marks(body)
    if body.decoded_size > MOST_INLINE:
        if files.allowed:
            marks["file"] = files.write(name, body)
            return HarBody(mime=mime or _UNKNOWN_TYPE, text="", raw=b"", marks=marks)
        marks["truncated"] = {"bytes": body.decoded_size - MOST_INLINE, "reason": "no_files"}
    raw = b"".join(_first(body.iter_decoded(), MOST_INLINE))
    text = None if body.undecodable else _maybe_text(raw, mime)
    return HarBody(mime=mime or _UNKNOWN_TYPE, text=text, raw=raw, marks=marks)


def base64_of(raw: bytes) -> str:
    """As HAR has binary content."""
    return base64.b64encode(raw).decode("ascii")


def _marks(body: Body) -> dict[str, Any]:
    marks: dict[str, Any] = {}
    if body.codings:
        marks["codings"] = list(body.codings)
    if body.undecodable:
        marks["undecodable"] = body.undecodable
    if body.decode_limited:
        marks["decode_limit"] = True
    return marks


def _first(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:limit]
        limit -= len(piece)
        if limit <= 0:
            return


def _maybe_text(raw: bytes, mime: str) -> str | None:
    """The text, None for what is binary or not in the charset that it claims."""
    claimed = _CHARSET.search(mime)
    if mime and not _TEXT_TYPES.match(mime) and claimed is None:
        return None
    if not mime and b"\0" in raw:
        return None
    try:
        codec = codecs.lookup(claimed[1] if claimed else "utf-8")
        # Python's own list has codecs that are no charsets (zip, base64).
        if not getattr(codec, "_is_text_encoding", False):
            return None
        return codec.decode(raw, "strict")[0]
    except (LookupError, ValueError):
        return None
