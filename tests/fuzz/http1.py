"""Both directions of a connection, and gaps: exchanges are well-formed, nothing raises."""

import re

from builders.http import Missing, Said, Step, bytewise, exchanges
from builders.http import check as check_exchanges

from qtapture.events import Direction

__all__ = ["check", "written"]

# Who speaks from here on; a gap is as long as the byte behind it says, 0 is of unknown length.
_TURN = re.compile(rb"\0([<>]|[()].)", re.DOTALL)
_CLIENT = b">("
# Cut into single bytes, every state of the parser sees every byte; long inputs take too long.
_MOST_BYTEWISE = 2_000


def check(data: bytes) -> None:
    """These bytes are a conversation, as `written` writes it."""
    steps = _steps(data)
    check_exchanges(exchanges(steps), steps)
    if len(data) <= _MOST_BYTEWISE:
        check_exchanges(exchanges(steps, cut=bytewise), steps)


def written(steps: list[Step]) -> bytes:
    """A conversation in one string of bytes; what it says has no such marks in it."""
    return b"".join(map(_written, steps))


def _written(step: Step) -> bytes:
    client = step.direction is Direction.C2S
    if isinstance(step, Said):
        return (b"\0>" if client else b"\0<") + step.data
    return (b"\0(" if client else b"\0)") + bytes([0 if step.unknown else step.length])


def _steps(data: bytes) -> list[Step]:
    words = _TURN.split(data)
    steps: list[Step] = [Said(Direction.C2S, words[0])]
    for turn, said in zip(words[1::2], words[2::2], strict=True):
        direction = Direction.C2S if turn[:1] in _CLIENT else Direction.S2C
        if len(turn) > 1:
            steps.append(Missing(direction, turn[1] or 9, unknown=not turn[1]))
        steps.append(Said(direction, said))
    return [step for step in steps if isinstance(step, Missing) or step.data]
