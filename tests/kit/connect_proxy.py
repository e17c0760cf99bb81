"""A company's proxy on loopback: it knows the company's names, which nobody else can resolve."""

import base64
import contextlib
import socket
import threading
from collections.abc import Generator

PATIENCE = 60.0
"""Seconds for a peer that is bound to say something."""


class ConnectProxy:
    """`CONNECT name:port` leads to that port of this machine, whatever the name."""

    def __init__(self, user: str = "", password: str = "") -> None:
        """With a user, only they get through."""
        self._wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[str] = []
        """Each `name:port` that somebody wanted to get to, refused or not."""
        self.credentials: set[str] = set()
        """Each `Proxy-Authorization` that came."""
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Its port refuses connections from now on, and its tunnels are gone."""
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(4096)
                if not piece:
                    return
                head += piece
            lines = head.decode("latin-1").split("\r\n")
            _, target, _ = lines[0].split()
            given = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
            self.asked.append(target)
            credentials = given.get("proxy-authorization", "")
            self.credentials |= {credentials} if credentials else set()
            if self._wanted and credentials != self._wanted:
                client.sendall(b"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2]))) as server:
                self._open |= {client, server}
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join(PATIENCE)
                self._open -= {client, server}


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def connect_proxy(user: str = "", password: str = "") -> Generator[ConnectProxy]:
    """A proxy for as long as the block lasts."""
    proxy = ConnectProxy(user, password)
    try:
        yield proxy
    finally:
        proxy.close()
