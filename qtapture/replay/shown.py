"""How addresses, names and bodies of messages are shown; nothing here is safe for a terminal."""

from qtapture.events import Body, Connection, Exchange, Message

__all__ = ["beginning", "exchange_url", "is_text", "latin"]

# Of a body, at -v and in JSON: a screen and a half of text.
_SHOWN_BYTES = 4096
_TEXT_TYPES = (b"text/", b"json", b"xml", b"javascript", b"urlencoded", b"graphql")
_FIRST_PRINTABLE = 32
_DEFAULT_PORTS = {"http": 80, "https": 443}


def beginning(body: Body) -> bytes:
    """The first bytes of a decoded body, reading no more than is shown."""
    parts: list[bytes] = []
    size = 0
    for part in body.iter_decoded():
        parts.append(part[: _SHOWN_BYTES - size])
        size += len(parts[-1])
        if size >= _SHOWN_BYTES:
            break
    return b"".join(parts)


def is_text(message: Message, shown: bytes) -> bool:
    """Whether a body that begins so can be shown as text."""
    kind = (message.header("content-type") or b"").lower()
    if any(word in kind for word in _TEXT_TYPES):
        return b"\0" not in shown
    # Without a word about it: text is what could be typed.
    return not kind and all(byte >= _FIRST_PRINTABLE or byte in b"\t\r\n" for byte in shown)


def latin(raw: bytes) -> str:
    """UTF-8 where it is valid, else Latin-1: no byte is dropped."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def exchange_url(exchange: Exchange) -> str:
    """The address of a request as a browser would show it, not made safe in any way."""
    request, connection = exchange.request, exchange.connection
    if request is None:
        return ""
    target = latin(request.target)
    if request.method == "CONNECT":
        return f"connect://{target}"
    if "://" in target:
        return target
    scheme = "https" if connection.encrypted or connection.tls is not None else "http"
    host = request.header("host") or request.header(":authority")
    authority = latin(host) if host else _authority(connection, scheme)
    return f"{scheme}://{authority}{target if target.startswith('/') else '/' + target}"


def _authority(connection: Connection, scheme: str) -> str:
    server = connection.server
    if server is None:
        return "?"
    host = f"[{server.ip}]" if ":" in server.ip else server.ip
    return host if server.port == _DEFAULT_PORTS[scheme] else f"{host}:{server.port}"
