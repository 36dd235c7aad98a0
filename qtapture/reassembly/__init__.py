"""From samples to connections: processes, sockets, joins, ordered bytes with gaps, verdicts.

Two passes over a source: `survey` builds the tables, `stream` gives traffic in order of time.

Rule 1: nothing here knows session files; a source is anything of `qtapture.source`.
Rule 2: memory grows with connections and processes, never with payload.
Rule 3: the same source gives the same result, however its CPUs were interleaved.
"""

from qtapture.reassembly.assemble import SideChoice
from qtapture.reassembly.losses import KIND_NAMES
from qtapture.reassembly.plan import Plan
from qtapture.reassembly.stream import iter_traffic
from qtapture.reassembly.survey import survey

__all__ = ["KIND_NAMES", "Plan", "SideChoice", "iter_traffic", "survey"]
