"""Bodies in a HAR: text in their charset, base64, or a file beside where they are large."""

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtapture.errors import UsageError
from qtapture.events import Body, Message
from qtapture.export.attribution import text_of
from qtapture.export.har_text import UNKNOWN, maybe_text
from qtapture.export.output import OutputFolder, open_private

__all__ = ["MOST_INLINE", "BodyFiles", "HarBody", "base64_of", "har_body", "is_body_folder"]

# What a viewer shows of one body before it stops to answer.
MOST_INLINE = 8 << 20
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
    """The folder beside a HAR: made when the first large body comes.

    Raises:
        UsageError: it exists (without ``force``), or is not ours: told before a long export.
    """

    def __init__(self, har: Path | None, *, force: bool) -> None:
        self._path = har.with_name(f"{har.name}.files") if har is not None else None
        self._force = force
        self._folder: OutputFolder | None = None
        self._committed = False
        if self._path is not None and os.path.lexists(self._path):
            if not force:
                raise UsageError(f"{self._path}: exists (--force replaces it)")
            if self._path.is_symlink() or not is_body_folder(self._path):
                raise UsageError(f"{self._path}: is not an earlier output, and is not replaced")

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
        """Give the folder its name; without one, an earlier HAR's goes with that HAR."""
        if self._folder is not None:
            self._folder.commit()
            self._committed = True
        elif self._path is not None and self._force and is_body_folder(self._path):
            shutil.rmtree(self._path)

    def keep(self) -> None:
        """The HAR is in place: what it names stays."""
        self._folder = None

    def abandon(self) -> None:
        """Remove what was written, under its final name too: the HAR did not come to be."""
        if self._folder is None:
            return
        self._folder.abandon()
        if self._committed and self._path is not None:
            self._committed = False
            shutil.rmtree(self._path, ignore_errors=True)


def is_body_folder(path: Path) -> bool:
    """Whether it is a folder that holds bodies of ours and nothing else."""
    return path.is_dir() and all(_BODY_NAME.fullmatch(entry.name) for entry in path.iterdir())


def har_body(message: Message, name: str, files: BodyFiles) -> HarBody:
    """A message's body for a HAR; ``name`` is that of its file where it needs one."""
    body = message.body
    mime = text_of(message.header("content-type") or b"") or UNKNOWN
    marks = _marks(body)
    cut = body.decoded_size > MOST_INLINE
    if cut and files.allowed:
        marks["file"] = files.write(name, body)
        return HarBody(mime=mime, text="", raw=b"", marks=marks)
    raw = b"".join(_first(body.iter_decoded(), MOST_INLINE))
    found = None if body.undecodable else maybe_text(raw, mime, cut=cut)
    if cut:
        shown = len(raw) if found is None else found.size
        marks["truncated"] = {"bytes": body.decoded_size - shown, "reason": "no_files"}
    return HarBody(mime=mime, text=found.text if found else None, raw=raw, marks=marks)


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
