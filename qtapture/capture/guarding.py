"""The recorder's end of the guardian (`qtapture.capture.guardian_child`)."""

from qtapture.capture.attaching import send_rights
from qtapture.capture.children import python_child
from qtapture.capture.loader import Loaded

__all__ = ["Guardian"]


class Guardian:
    """A process that continues whoever stands still too long."""

    def __init__(self, loaded: Loaded) -> None:
        self._child, self._peer = python_child("qtapture.capture.guardian_child")
        maps = {name: loaded.maps[name] for name in ("stopped", "config")}
        send_rights(self._peer, {}, {}, maps)

    @property
    def pid(self) -> int:
        """Its process: never to be recorded."""
        return self._child.pid

    def close(self) -> None:
        """Nothing can be stopped any more: end it."""
        self._child.kill()
        self._peer.close()
        self._child.wait()
