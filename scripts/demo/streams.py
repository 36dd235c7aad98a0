"""An asyncio client: OpenSSL sees memory, not sockets, and several connections interleave."""

import asyncio
import os
import ssl
import urllib.parse

PLACE = urllib.parse.urlsplit(os.environ["DEMO_URL"])
TLS = ssl.create_default_context(cafile=os.environ["DEMO_CA"])


async def fetch(*paths: str) -> list[int]:
    """The sizes of some answers, all over one connection."""
    reader, writer = await asyncio.open_connection(PLACE.hostname, PLACE.port, ssl=TLS)
    sizes = []
    for path in paths:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {PLACE.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split()[0]
        sizes.append(len(await reader.readexactly(int(length))))
    writer.close()
    await writer.wait_closed()
    return sizes


async def main() -> None:
    """Three connections at once."""
    sizes = await asyncio.gather(
        fetch("/one-byte", "/64k.txt"), fetch("/64k.txt"), fetch("/one-byte", "/one-byte")
    )
    assert sizes == [[1, 65_536], [65_536], [1, 1]], sizes


if __name__ == "__main__":
    asyncio.run(main())
