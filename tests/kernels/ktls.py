"""One HTTP exchange over TLS that the kernel speaks, with keys that both ends agree on here."""

import socket
import struct

PAGE = b"a page\n" * 3000
_TCP_ULP = 31
_SOL_TLS, _TLS_TX, _TLS_RX = 282, 1, 2
_TLS_1_2, _AES_GCM_128 = 0x0303, 51  # include/uapi/linux/tls.h


def main() -> None:
    """Client and server in one process; only the client's direction and back, in records."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    use_keys(client, sends=b"c", receives=b"s")
    use_keys(server, sends=b"s", receives=b"c")
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    server.recv(4096)
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
    server.close()
    while client.recv(65536):
        pass
    client.close()


def use_keys(end: socket.socket, *, sends: bytes, receives: bytes) -> None:
    """Hand one end to the kernel's TLS."""
    end.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")
    end.setsockopt(_SOL_TLS, _TLS_TX, keys(sends))
    end.setsockopt(_SOL_TLS, _TLS_RX, keys(receives))


def keys(name: bytes) -> bytes:
    """struct tls12_crypto_info_aes_gcm_128: version, cipher, iv, key, salt, sequence."""
    return struct.pack(
        "<HH8s16s4s8s", _TLS_1_2, _AES_GCM_128, name * 8, name * 16, name * 4, bytes(8)
    )


if __name__ == "__main__":
    main()
