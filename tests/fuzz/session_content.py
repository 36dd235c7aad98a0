"""The content of a chunk, in a session that holds: table and records are believed."""

from builders.damages import session_holding
from fuzz import session_file

from qtapture.session.frames import ChunkKind

__all__ = ["check"]

_MOST = 64 << 10


def check(data: bytes) -> None:
    """The first byte is the kind of the chunk, the rest its content, before compression."""
    kinds = (ChunkKind.RING, ChunkKind.CHECKPOINT, ChunkKind.MANIFEST, ChunkKind.EVENT)
    kind = kinds[data[0] % len(kinds)] if data else ChunkKind.RING
    session_file.check(session_holding(data[1:_MOST], kind))
