"""Real clients: curl, and Python both blocking and with asyncio, as their users write them."""

import textwrap
from pathlib import Path

# The distribution's own Python: its ssl module uses the distribution's libssl.
SYSTEM_PYTHON = "/usr/bin/python3"

_BLOCKING = """
    import http.client, ssl, sys
    ca, port, *paths = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    connection = http.client.HTTPSConnection("localhost", int(port), context=context)
    for path in paths:
        connection.request("GET", path)
        print(len(connection.getresponse().read()))
    connection.close()
"""

# Every client reads its own body, and prints its number and the body's digest.
_ASYNCIO = """
    import asyncio, hashlib, ssl, sys
    ca, port, count, path = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)

    async def one(number):
        reader, writer = await asyncio.open_connection("localhost", int(port), ssl=context)
        target = path.replace("N", str(number))
        lines = (f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", "", "")
        writer.write("\\r\\n".join(lines).encode())
        answer = await reader.read()
        writer.close()
        body = answer.partition(b"\\r\\n\\r\\n")[2]
        return f"{number} {len(body)} {hashlib.sha256(body).hexdigest()}"

    async def everyone():
        return await asyncio.gather(*(one(number) for number in range(int(count))))

    print(*asyncio.run(everyone()), sep="\\n")
"""


def blocking_python(folder: Path, ca: Path, port: int, *paths: str) -> list[object]:
    """GET each path over one connection of http.client."""
    return [SYSTEM_PYTHON, _script(folder, "blocking.py", _BLOCKING), ca, port, *paths]


def asyncio_python(folder: Path, ca: Path, port: int, count: int, path: str) -> list[object]:
    """``count`` connections at once in one process; N in the path becomes the number."""
    return [SYSTEM_PYTHON, _script(folder, "many.py", _ASYNCIO), ca, port, count, path]


def curl(ca: Path, *arguments: object) -> list[object]:
    """curl with HTTP/1.1, quiet, trusting the certificate."""
    return ["/usr/bin/curl", "-sS", "--http1.1", "--cacert", ca, *arguments]


def _script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path
