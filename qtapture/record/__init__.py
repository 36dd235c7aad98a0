"""Recording: from the kernel's rings into a session file.

Rule 1: payload is never looked at; this package moves slices and writes down its own facts.
Rule 2: user space never drops: a full queue stops the drain, so that every loss happens where it
        is counted.
Rule 3: however a recording ends, what is in the file is readable and says how it ended.
"""

from qtapture.record.options import RecordOptions
from qtapture.record.recorder import record

__all__ = ["RecordOptions", "record"]
