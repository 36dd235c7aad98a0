"""From bytes to messages and exchanges: passive parsers of what was said.

Rule 1: parsers do no I/O of the network, take bytes in any pieces, and never raise on them.
Rule 2: nothing is refused and nothing is repaired: what is odd is shown as it was, and marked.
Rule 3: memory is bounded whatever lengths say; bodies go to disk past a limit.

The HTTP/1 parser is ours: those of others refuse what an analyst must see (smuggling shapes), lose
offsets, or need both directions from their first byte.
"""
