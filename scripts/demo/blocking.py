"""A blocking client: http.client keeps one connection, urllib opens one for each request."""

import http.client
import json
import os
import ssl
import urllib.parse
import urllib.request

URL = os.environ["DEMO_URL"]
TLS = ssl.create_default_context(cafile=os.environ["DEMO_CA"])


def main() -> None:
    """Fetch, post, ask for heads; any answer but the expected one ends with a traceback."""
    place = urllib.parse.urlsplit(URL)
    connection = http.client.HTTPSConnection(place.hostname, place.port, context=TLS)
    for path, size in (("/one-byte", 1), ("/64k.txt", 65_536), ("/8m.txt", 8_388_608)):
        connection.request("GET", path)
        body = connection.getresponse().read()
        assert len(body) == size, (path, len(body))
    # An iterator as the body is sent in chunks.
    connection.request("POST", "/orders", body=iter([b'{"item": ', b"1}"]))
    assert connection.getresponse().read()
    connection.request("HEAD", "/items.json")
    assert connection.getresponse().read() == b""
    connection.close()

    with urllib.request.urlopen(f"{URL}/items.json", context=TLS) as answer:
        assert len(json.load(answer)) == 500


if __name__ == "__main__":
    main()
