"""The conversation for people: one line for each exchange, one for what had none; or JSON lines.

Rule 1: what was observed may hold anything: lines go to a terminal only through
`qtapture.cli.text.printable`, one by one; JSON is ASCII.
Rule 2: nothing depends on a terminal, its width or its colours.
"""

from qtapture.replay.lines import iter_lines
from qtapture.replay.rows import iter_json

__all__ = ["iter_json", "iter_lines"]
