"""Where the files are that come with the package: the kernel side and the formats.

In a checkout they are beside the package, in a wheel they are in ``qtapture/_data``.
"""

from pathlib import Path

__all__ = ["folder", "read_text"]

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder ``bpf`` or ``formats``.

    Raises:
        FileNotFoundError: the installation is not complete.
    """
    for place in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(2, "is missing from the installation", name)


def read_text(path: str) -> str:
    """The text of one file, by its path from the project's root: ``formats/x.schema.json``."""
    name, _, rest = path.partition("/")
    return (folder(name) / rest).read_text(encoding="utf-8")
