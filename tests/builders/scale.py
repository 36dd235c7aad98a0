"""How much of a thing: `make test` does some of it, `make soak` all."""

import os
from typing import TypeVar

T = TypeVar("T")
SOAK = bool(os.environ.get("QTAPTURE_SOAK"))


def scaled(usual: T, soak: T) -> T:
    """The second under `make soak`."""
    return soak if SOAK else usual
