"""Waits on the redirect address for the browser to bring the answer (RFC 8252 section 7.3).

Bound before the browser opens, to loopback only. The one request that carries our `state` is
handed to the sign-in, which runs in the caller's thread; its browser is answered when the
sign-in is over and the grant is stored, with the page that says how it went. Everything else
(favicon, an idle preconnect, another tab, another host name) is turned away and changes nothing.
"""

import contextlib
import hmac
import queue
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from acp_stdio.errors import Failure
from acp_stdio.login import pages
from acp_stdio.login.pages import Page

IDLE_TIMEOUT: Final = 5.0
"""Seconds a connection may say nothing: browsers open one ahead and leave it idle."""
PAGE_TIMEOUT: Final = 120.0
"""Seconds a browser waits for its page while the code is exchanged and the grant stored."""
_LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Redirect:
    """The configured redirect address, taken apart."""

    host: str
    ports: tuple[int, ...]
    path: str
    """As it goes into `redirect_uri`: may be empty, which a browser asks for as `/`."""

    @classmethod
    def parse(cls, address: str) -> "Redirect":
        """Reads `http://127.0.0.1:0/callback`; several ports are separated by commas, 0 is any free one.

        Raises `Failure(configuration_invalid)` for anything but plain http on a loopback host.
        """
        parts = urlsplit(address)
        bracketed = parts.netloc.startswith("[")
        host, _, ports = parts.netloc[1:].partition("]") if bracketed else parts.netloc.partition(":")
        numbers = [number.strip() for number in ports.removeprefix(":").split(",")] if ports else ["0"]
        if (
            parts.scheme != "http"
            or host not in _LOOPBACK_HOSTS
            or parts.query
            or parts.fragment
            or not all(number.isdecimal() and int(number) < 65536 for number in numbers)
        ):
            raise Failure(
                "configuration_invalid",
                f"`redirect` is {address!r}, which is not an http address of this computer.",
                "Use one like http://127.0.0.1:0/callback, with the port that is registered or 0 for any.",
            )
        return cls(host, tuple(int(number) for number in numbers), parts.path)


class Taken:
    """The browser's answer, whose page is still owed."""

    def __init__(self, parameters: list[tuple[str, str]]) -> None:
        self.parameters = parameters
        """As the query had them, repetitions included; the code is in here, so this is not printable."""
        self._next: queue.SimpleQueue[tuple[Page, str]] = queue.SimpleQueue()

    def show(self, page: Page) -> None:
        """Gives the browser its page. Once, unless it was sent on."""
        self._next.put((page, ""))

    def send_on(self, url: str) -> None:
        """Sends the same tab there in place of a page. The URL must have passed `opener.safe_url`."""
        self._next.put((Page("Going on to the sign-in page."), url))

    def next(self) -> tuple[Page, str]:
        """The page, and where to redirect to instead."""
        with contextlib.suppress(queue.Empty):
            return self._next.get(timeout=PAGE_TIMEOUT)
        return pages.failed("The sign-in took too long.", "Look at the terminal, then start again."), ""


class Loopback:
    """The listener of one sign-in. A context manager: leaving it closes the port.

    Raises `Failure(configuration_invalid)` where the address is none of ours or every
    configured port is taken.
    """

    def __init__(self, redirect: str, state: str) -> None:
        self._redirect = Redirect.parse(redirect)
        self._awaited = state, threading.Lock()
        """The `state` of the request that was made, and a lock that its first answer takes."""
        self._answers: queue.SimpleQueue[Taken] = queue.SimpleQueue()
        self._owed: list[threading.Event] = []
        self._authorization_url = ""
        self._start_path = f"/{secrets.token_urlsafe(9)}"
        self._servers = list(self._bind())
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True, name="redirect").start()

    @property
    def _origin(self) -> str:
        host = self._redirect.host
        return f"{f'[{host}]' if ':' in host else host}:{self._servers[0].server_port}"

    @property
    def redirect_uri(self) -> str:
        """What the identity provider is told, to the byte."""
        return f"http://{self._origin}{self._redirect.path}"

    @property
    def start_url(self) -> str:
        """A short address that leads to the sign-in page: easy to copy, and all that is seen in `ps`."""
        return f"http://{self._origin}{self._start_path}"

    def again(self, state: str) -> None:
        """Takes one more answer, to a request with this `state`; the one before is over."""
        self._awaited = state, threading.Lock()  # at once: an answer that is looked at just now is to one or the other

    def lead_to(self, authorization_url: str) -> None:
        """Makes `start_url` redirect there. The URL must have passed `opener.safe_url`."""
        self._authorization_url = authorization_url

    def wait(self, seconds: float) -> Taken | None:
        """The answer with our `state`, or None when none came in time."""
        with contextlib.suppress(queue.Empty):
            return self._answers.get(timeout=seconds)
        return None

    def close(self) -> None:
        """Lets owed pages leave (bounded), then frees the port. Safe to call twice."""
        for sent in self._owed:
            sent.wait(2.0)
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def __enter__(self) -> "Loopback":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # What the handler asks, on its own thread.

    def answer(self, target: str, host: str) -> tuple[Page, str, threading.Event | None]:
        """The page for one GET, where to redirect to instead, and what to set when it was sent."""
        parts = urlsplit(target)
        if host.lower() != self._origin.removesuffix(":80"):  # DNS rebinding
            return pages.not_ours("The request was for another host.", 403), "", None
        if parts.path == self._start_path and self._authorization_url:
            return Page("Going to the sign-in page."), self._authorization_url, None
        if parts.path != (self._redirect.path or "/") or not parts.query:
            return pages.not_ours("There is nothing at this address.", 404), "", None
        try:
            parameters = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=50, errors="strict")
        except ValueError:
            return pages.not_ours("The answer could not be read."), "", None
        states = [value for name, value in parameters if name == "state"]
        state, once = self._awaited
        if len(states) != 1 or not hmac.compare_digest(states[0].encode(), state.encode()):
            return pages.not_ours("Use the tab that `acp-stdio login` opened."), "", None
        if not once.acquire(blocking=False):
            return pages.elsewhere(), "", None
        taken, sent = Taken(parameters), threading.Event()
        self._owed.append(sent)
        self._answers.put(taken)
        return *taken.next(), sent

    def _bind(self) -> Iterator["_Server"]:
        wanted = self._redirect
        addresses = ["127.0.0.1", "::1"] if wanted.host == "localhost" else [wanted.host]
        for port in wanted.ports * (3 if wanted.ports == (0,) else 1):
            bound: list[_Server] = []
            try:
                for address in addresses:
                    if address == "::1" and len(addresses) > 1 and not _has_ipv6_loopback():
                        continue
                    bound.append(_Server(address, bound[0].server_port if bound else port, self))
            except OSError:
                for server in bound:
                    server.server_close()
                continue
            return iter(bound)
        ports = ", ".join(str(port) for port in wanted.ports)
        raise Failure(
            "configuration_invalid",
            f"The browser brings the answer to port {ports} of this computer, which is in use.",
            "Finish or close a sign-in that is still open, or name another registered port in `redirect`.",
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int, loopback: Loopback) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.loopback = loopback
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        if sys.platform == "win32":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            # Lets a fixed port be used again right after the last sign-in (TIME_WAIT). A port that somebody
            # listens on is refused all the same; on Windows the option would mean sharing it.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind(self.server_address)
        # HTTPServer would look the name up in the DNS here.
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away is no news, and a traceback would show the code."""


class _Handler(BaseHTTPRequestHandler):
    timeout = IDLE_TIMEOUT
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]  # the only server that uses it
    server_version = "acp-stdio"
    sys_version = ""

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host") or [""]
        page, location, sent = self.server.loopback.answer(self.path, hosts[0] if len(hosts) == 1 else "")
        try:
            self._send(302 if location else page.status, page, location)
        finally:
            if sent is not None:
                sent.set()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Other methods and broken requests, with our page in place of one that quotes the request."""
        self._send(405 if code == 501 else code, pages.not_ours("The request could not be understood."))

    def _send(self, status: int, page: Page, location: str = "") -> None:
        body = page.render()
        self.close_connection = True
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        for name, value in pages.HEADERS:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the request line holds the code."""


def _has_ipv6_loopback() -> bool:
    if not socket.has_ipv6:
        return False
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True
