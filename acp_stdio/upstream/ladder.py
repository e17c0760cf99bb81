"""`transport = "auto"`: Streamable HTTP, and HTTP+SSE where a server turns out to be that old.

MCP 2025-11-25, transports, backwards compatibility (the same in 2026-07-28, streamable-http): a POST of
`initialize` that is answered with 400, 404 or 405, and not with an error of the modern era, is followed by a
GET; an `endpoint` event on it means HTTP+SSE.
"""

from typing import Final

from acp_stdio.upstream.http import Connector, Exchange, Receiver
from acp_stdio.upstream.http_sse import SseConnector
from acp_stdio.upstream.streamable_http import MAX_ERROR_BODY
from acp_stdio.wire import errors, frames, methods

_OLDER: Final = (400, 404, 405)


class LadderConnector:
    """Begins with Streamable HTTP; each `initialize` may find that the other fits (`upstream.http.Connector`)."""

    def __init__(self, http: Connector, url: str) -> None:
        self._http = http
        self._sse = SseConnector(http, url)
        self._fits: Connector = http

    def request(
        self,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
        *,
        head_timeout: float | None,
    ) -> Exchange:
        """See `upstream.http.Connector`."""
        # Only an `initialize` has no version yet: whatever else is sent costs this one look.
        if method == "POST" and b"MCP-Protocol-Version:" not in header_block and _opens(body):
            return _Attempt(self, target, header_block, body, receiver).begin()
        return self._fits.request(method, target, header_block, body, receiver, head_timeout=head_timeout)

    def hold(self, held: bool) -> None:
        """See `upstream.http.Connector`."""
        self._http.hold(held)

    async def aclose(self) -> None:
        """See `upstream.http.Connector`."""
        await self._sse.aclose()  # and the HTTP that both share

    def ways(self) -> list[Connector]:
        """The one that fitted last first."""
        other = self._sse if self._fits is self._http else self._http
        return [self._fits, other]

    def settle(self, fits: Connector) -> None:
        """This one was answered."""
        self._fits = fits


def _opens(body: bytes) -> bool:
    return frames.parse(body).method == methods.INITIALIZE


class _Attempt:
    """One `initialize`, on one transport and then perhaps on the other (`Receiver` of what is below)."""

    def __init__(
        self, ladder: LadderConnector, target: str, header_block: bytes, body: bytes, receiver: Receiver
    ) -> None:
        self._ladder = ladder
        self._request = (target, header_block, body)
        self._receiver = receiver
        self._ways = ladder.ways()
        self._way = self._ways[0]
        self._status = 0
        self._headers: dict[str, str] = {}
        self._refusal: tuple[int, bytes, dict[str, str]] | None = None
        self._body = b""

    def begin(self) -> Exchange:
        """Sends it on the first way that is left."""
        self._way = self._ways.pop(0)
        self._status, self._body = 0, b""
        target, block, body = self._request
        self._exchange = self._way.request("POST", target, block, body, self, head_timeout=None)
        return self

    @property
    def sent(self) -> bool:
        """See `upstream.http.Exchange`."""
        return self._exchange.sent

    def abort(self) -> None:
        """See `upstream.http.Exchange`."""
        self._exchange.abort()

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status, self._headers = status, headers
        if status not in _OLDER:
            self._ladder.settle(self._way)
            self._receiver.on_head(status, headers)

    def on_data(self, data: bytes) -> None:
        if self._status in _OLDER:
            self._body = (self._body + data)[:MAX_ERROR_BODY]
        else:
            self._receiver.on_data(data)

    def on_end(self) -> None:
        if self._status not in _OLDER:
            self._receiver.on_end()
            return
        self._refusal = self._refusal or (self._status, self._body, self._headers)
        if self._ways and not errors.body_refuses_initialize(self._body):
            self.begin()
            return
        status, body, headers = self._refusal  # neither fits: what the first said counts
        self._receiver.on_head(status, headers)
        if body:
            self._receiver.on_data(body)
        self._receiver.on_end()

    def on_failed(self, sent: bool, why: str) -> None:
        self._receiver.on_failed(sent, why)
