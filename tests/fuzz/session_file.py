"""A session file of any bytes: readers raise FormatError alone, and what is recovered verifies."""

import io
import tempfile
from pathlib import Path

from builders.damages import check_findings, told_of

from qtapture.errors import FormatError
from qtapture.session.recover import recover_session

__all__ = ["check"]

# In memory where there is such a folder: files are written a thousand times a second.
_MEMORY = Path("/dev/shm")


def check(data: bytes) -> None:
    """Read, verify and recover these bytes."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        folder = Path(name)
        try:
            told = told_of(folder, data)
            check_findings(told, len(data))
            out = io.BytesIO()
            recover_session(told.reader, folder / "session.qtap", out)
        except FormatError:
            return
        again = told_of(folder, out.getvalue())
        assert again.verification.state in {"intact", "recovered"}, again.verification.findings
        if told.verification.state == "intact":
            assert again.rows == told.rows
