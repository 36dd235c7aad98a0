"""The first bytes of both directions: what hellos say in the clear, nothing raises."""

from qtapture.reassembly.hello import HelloReader

__all__ = ["check"]

_PIECE = 7


def check(data: bytes) -> None:
    """The first byte is a direction, and what follows its bytes, whole and in pieces."""
    way = data[0] & 1 if data else 0
    whole, cut = HelloReader(), HelloReader()
    whole.feed(way, 0, data[1:])
    for at in range(1, len(data), _PIECE):
        cut.feed(way, at - 1, data[at : at + _PIECE])
    assert whole.facts == cut.facts
    for name in (whole.facts.server_name, whole.facts.alpn):
        assert name is None or name.isascii()
