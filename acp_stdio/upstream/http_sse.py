"""HTTP+SSE, the transport of MCP 2024-11-05 (basic/transports): a GET is the stream, POSTs are answered with 202.

The stream's first event, `endpoint`, says where to post. That place must be of the same origin, since the token
goes there. A stream that broke took its session along; see `upstream.channel`.
"""

import asyncio
import re
from typing import Final
from urllib.parse import urljoin

from acp_stdio.settings.origin import origin_of, target_of
from acp_stdio.upstream.channel import SESSION, Channel, Reply, header_of, without
from acp_stdio.upstream.http import Connector, Exchange, Receiver
from acp_stdio.upstream.streamable_http import MAX_ERROR_BODY
from acp_stdio.wire import frames, methods
from acp_stdio.wire.sse import SseParser, SseTooLarge

ENDPOINT_WAIT: Final = 10.0
"""Seconds from the GET to the `endpoint` event."""

_PLAIN: Final = re.compile("[!-~]+")
_LEGACY_ONLY: Final = 405
"""What this transport says to a request of the modern era, which has no HTTP+SSE: the host then says `initialize`."""


class _Stream:
    """The one GET and its channel (`upstream.http.Receiver`)."""

    def __init__(self, owner: "SseConnector") -> None:
        self._owner = owner
        self._events = SseParser()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = b""
        self.exchange: Exchange | None = None
        self.channel = Channel()
        self.endpoint = ""
        """Path and query to post to; empty until the server has said it."""
        self.over = False

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status, self._headers = status, headers

    def on_data(self, data: bytes) -> None:
        if not self._is_stream:
            self._body = (self._body + data)[:MAX_ERROR_BODY]
            return
        try:
            for event in self._events.feed(data):
                if self.over:
                    return
                if not self.endpoint:
                    self._owner.told_endpoint(self, event.event, event.data)
                elif event.event == "message":
                    self.channel.receive(event.data)
        except SseTooLarge:
            self._owner.broke(self, "it sent an event that is too large")

    def on_end(self) -> None:
        if self._is_stream:
            self._owner.broke(self, "the server ended its stream")
        else:
            status = self._status if self._status >= 300 else _LEGACY_ONLY  # 2xx, but no stream: not this transport
            self._owner.refused(self, status, self._body, self._headers)

    def on_failed(self, sent: bool, why: str) -> None:
        self._owner.broke(self, why)

    @property
    def _is_stream(self) -> bool:
        kind = self._headers.get("content-type", "").lstrip().lower()
        return self._status == 200 and kind.startswith("text/event-stream")


class _Posted:
    """The POST of one message (`upstream.http.Receiver`). Its answer says whether it was taken, and no more."""

    def __init__(self, reply: Reply, stream: _Stream) -> None:
        self._reply, self._stream = reply, stream
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = b""

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status, self._headers = status, headers

    def on_data(self, data: bytes) -> None:
        if self._status >= 300:
            self._body = (self._body + data)[:MAX_ERROR_BODY]

    def on_end(self) -> None:
        self._reply.under, self._reply.left = None, True
        if self._status >= 300:
            self._reply.end(self._status, self._body, self._headers)
        elif self._reply.frame is not None and not self._reply.frame.is_request:
            self._reply.end(202)

    def on_failed(self, sent: bool, why: str) -> None:
        self._reply.under, self._reply.left = None, sent
        self._reply.fail(why)


class _Heard(Reply):
    """The session's own stream. Who gives it up, at a logout, gives up the session: the GET has the person's token."""

    def __init__(self, receiver: Receiver, owner: "SseConnector", stream: _Stream) -> None:
        super().__init__(receiver)
        self._owner, self._stream = owner, stream

    def abort(self) -> None:
        """See `upstream.http.Exchange`."""
        given_up = not self.over
        super().abort()
        if given_up:
            self._owner.broke(self._stream, "the session was ended")


class SseConnector:
    """One server's HTTP+SSE as exchanges (`upstream.http.Connector`)."""

    def __init__(self, http: Connector, url: str) -> None:
        """`url`: what the GET asks for; `http` reaches its origin and nothing else."""
        self._http = http
        self._url = url
        self._stream: _Stream | None = None
        self._opening: list[tuple[Reply, bytes, bytes]] = []
        """What waits for the endpoint: exchange, header block, body."""
        self._timer: asyncio.TimerHandle | None = None

    def request(
        self,
        method: str,
        target: str,
        header_block: bytes,
        body: bytes,
        receiver: Receiver,
        *,
        head_timeout: float | None,
    ) -> Reply:
        """See `upstream.http.Connector`."""
        if method == "DELETE":
            self._end_session()
            return Reply(receiver).soon(200)
        session = header_of(header_block, SESSION)
        stream = self._stream
        if session and (stream is None or stream.channel.session != session):
            return Reply(receiver).soon(404)
        if method == "GET":
            if stream is None:
                return Reply(receiver).soon(404)
            reply = _Heard(receiver, self, stream)
            asyncio.get_running_loop().call_soon(stream.channel.listen, reply)
            return reply
        frame = frames.parse(body)
        if header_of(header_block, "mcp-method"):
            return Reply(receiver).soon(_LEGACY_ONLY)
        reply = Reply(receiver, frame)
        if frame.method == methods.INITIALIZE:  # the stream that there is carries the token of another time, or person
            self._end_session()
        block = without(header_block, SESSION)
        if self._stream is not None and self._stream.endpoint:
            self._post(self._stream, reply, block, body)
        else:
            self._opening.append((reply, block, body))
            if self._stream is None:
                self._open(block)
        return reply

    def hold(self, held: bool) -> None:
        """See `upstream.http.Connector`."""
        self._http.hold(held)

    async def aclose(self) -> None:
        """Ends the stream, and whatever the HTTP below holds."""
        self._end_session()
        await self._http.aclose()

    # -- the stream ---------------------------------------------------------------------------------

    def told_endpoint(self, stream: _Stream, event: str, data: bytes) -> None:
        """The first event: where to post, or that this is another protocol."""
        try:
            said = data.decode("ascii").strip()
            place = urljoin(self._url, said)
            same = event == "endpoint" and _PLAIN.fullmatch(said) and origin_of(place) == origin_of(self._url)
        except ValueError:
            same, place = False, ""
        if not same:
            why = "its first event names no place of its own to post to, and a token is not carried elsewhere"
            self.broke(stream, why)
            return
        stream.endpoint = target_of(place)
        self._stop_waiting()
        waiting, self._opening = self._opening, []
        for reply, block, body in waiting:
            if not reply.over:
                self._post(stream, reply, block, body)

    def refused(self, stream: _Stream, status: int, body: bytes, headers: dict[str, str]) -> None:
        """The GET was answered with something that is no stream."""
        for reply in self._drop(stream):
            reply.end(status, body, headers)

    def broke(self, stream: _Stream, why: str) -> None:
        """The stream is over, and with it the session."""
        opening = self._drop(stream)
        stream.channel.close(f"its stream broke: {why}")
        for reply in opening:
            reply.fail(why)  # not sent: there was no place to send it to

    def _open(self, block: bytes) -> None:
        stream = self._stream = _Stream(self)
        ask = without(block, "accept", "content-type") + b"Accept: text/event-stream\r\n"
        target = target_of(self._url)
        stream.exchange = self._http.request("GET", target, ask, b"", stream, head_timeout=ENDPOINT_WAIT)
        why = f"no endpoint event within {ENDPOINT_WAIT:g} s"
        self._timer = asyncio.get_running_loop().call_later(ENDPOINT_WAIT, self.broke, stream, why)

    def _post(self, stream: _Stream, reply: Reply, block: bytes, body: bytes) -> None:
        if not stream.channel.expect(reply):
            asyncio.get_running_loop().call_soon(reply.fail, "another request with this id is still on its way")
            return
        posted = _Posted(reply, stream)
        reply.under = self._http.request("POST", stream.endpoint, block, body, posted, head_timeout=None)

    def _drop(self, stream: _Stream) -> list[Reply]:
        """Forgets a stream; returns who waited for its endpoint."""
        if stream.over:
            return []
        stream.over = True
        self._stop_waiting()
        if stream.exchange is not None:
            stream.exchange.abort()
        if self._stream is stream:
            self._stream = None
        opening, self._opening = self._opening, []
        return [reply for reply, _, _ in opening]

    def _end_session(self) -> None:
        if self._stream is not None:
            self.broke(self._stream, "the session was ended")

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
