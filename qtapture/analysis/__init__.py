"""A session understood: tables, traffic and exchanges, for replay, info and every export."""

from qtapture.analysis.analysis import Analysis, Item, analyse, open_analysis
from qtapture.analysis.summary import Summary, summarise
from qtapture.reassembly import SideChoice

__all__ = [
    "Analysis",
    "Item",
    "SideChoice",
    "Summary",
    "analyse",
    "open_analysis",
    "summarise",
]
