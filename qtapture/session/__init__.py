"""The session file: records, chunks, integrity, and a reader that takes whatever is left of one.

formats/session.md is normative. Ours, because no container found has all of: a valid zstd stream,
no need of a footer, a hash chain over every byte, one write for each chunk.
"""

from qtapture.session.reader import SessionReader, open_session
from qtapture.session.verify import Verification, verify_session
from qtapture.session.writer import SessionWriter

__all__ = ["SessionReader", "SessionWriter", "Verification", "open_session", "verify_session"]
