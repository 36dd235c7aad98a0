"""What replay finds in a session, in a form that tests compare."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qtapture.analysis import Analysis, open_analysis
from qtapture.events import Exchange


@dataclass(frozen=True)
class Seen:
    """One exchange, with its bodies read."""

    method: str
    target: str
    status: int
    body: bytes
    request_body: bytes
    client: str
    server: str
    connection: int
    complete: bool

    @property
    def digest(self) -> str:
        """SHA-256 of the decoded body."""
        return hashlib.sha256(self.body).hexdigest()


def exchanges(session: Path) -> list[Seen]:
    """All exchanges in order of completion."""
    return list(_iter_seen(open_analysis(session)))


def _iter_seen(analysis: Analysis) -> Iterator[Seen]:
    for item in analysis.iter_items():
        if isinstance(item, Exchange):
            yield _seen(item)
            item.close()


def _seen(exchange: Exchange) -> Seen:
    request, response = exchange.request, exchange.response
    connection = exchange.connection
    client, server = connection.client_process, connection.server_process
    return Seen(
        method=request.method if request else "",
        target=request.target.decode() if request else "",
        status=response.status if response else 0,
        body=b"".join(response.body.iter_decoded()) if response else b"",
        request_body=b"".join(request.body.iter_decoded()) if request else b"",
        client=client.comm if client else "",
        server=server.comm if server else "",
        connection=connection.number,
        complete=bool(request and response and request.complete and response.complete),
    )
