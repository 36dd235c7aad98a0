"""Text on its way to a terminal: a session is hostile input, its bytes must not steer one."""

__all__ = ["printable"]

# Beside what is not printable: characters that reorder or hide text (Unicode TR 36, 3.1).
_HIDDEN = frozenset(
    "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def printable(text: str) -> str:
    """``text`` on one line, with everything escaped that a terminal could act upon."""
    if text.isprintable() and not _HIDDEN.intersection(text):
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable() and character not in _HIDDEN:
        return character
    # Lone surrogates stand for bytes that are not UTF-8 (PEP 383).
    return character.encode("unicode_escape").decode("ascii")
