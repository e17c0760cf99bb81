"""One stream of messages in both directions, offered as exchanges: what MCP's older transports have in place of HTTP's.

On HTTP+SSE (2024-11-05) and on stdio all that a server says comes on one stream. Here each request is an
exchange that ends when the answer with its id has come, so that nothing above has to know the difference:

- the session gets an id of ours, and a frame of a session whose stream broke is refused with 404, as a
  Streamable HTTP server refuses it: the relay then opens another session, once a frame;
- what the server says on its own comes on the exchange of the session's GET stream, and while there is none
  (the modern era has none) on that of the newest request.
"""

import asyncio
import itertools
from collections import deque
from typing import Final

import msgspec

from acp_stdio.upstream.http import Exchange, Receiver
from acp_stdio.wire import frames, methods
from acp_stdio.wire.frames import BadFrame, Frame
from acp_stdio.wire.framing import one_line

SESSION: Final = "mcp-session-id"
MAX_UNHEARD: Final = 64
"""Messages kept while nobody listens; then the oldest go."""
MAX_UNHEARD_BYTES: Final = 4 << 20
"""Bytes of them; what is larger than this by itself is not kept."""

LINGER: Final = 2.0
"""Seconds in which a server may end the exchange that carried a request, once the answer has come another way."""

_JSON: Final = {"content-type": "application/json"}
_EVENTS: Final = {"content-type": "text/event-stream"}
_numbers = itertools.count(1)


class _Welcome(msgspec.Struct):
    protocolVersion: str = ""


def _version(result: msgspec.Raw) -> str:
    """The revision that an `initialize` result agrees to; empty where it is no such result."""
    try:
        return msgspec.json.decode(result, type=_Welcome).protocolVersion
    except (msgspec.MsgspecError, RecursionError):
        return ""


def header_of(block: bytes, name: str) -> str:
    """One header's value in a block of header lines; empty where it is not there."""
    for line in block.split(b"\r\n"):
        key, _, value = line.partition(b": ")
        if key.lower() == name.encode("ascii"):
            return value.decode("latin-1")
    return ""


def without(block: bytes, *names: str) -> bytes:
    """The block without these headers, which are spelled in lower case."""
    left = {name.encode("ascii") for name in names}
    lines = [line for line in block.split(b"\r\n") if line and line.partition(b":")[0].lower() not in left]
    return b"".join(line + b"\r\n" for line in lines)


class Reply:
    """One exchange on a channel (`upstream.http.Exchange`): a receiver, told of each thing in its order."""

    def __init__(self, receiver: Receiver, frame: Frame | None = None) -> None:
        """`frame`: the message that is sent; None for the session's stream and its end."""
        self._receiver: Receiver | None = receiver
        self._begun = False
        self.frame = frame
        self.left = False
        """The request has left, as far as anybody can tell by now."""
        self.under: Exchange | None = None
        """The HTTP exchange that carries the request itself, while it lasts and where one does."""
        self.channel: Channel | None = None

    @property
    def sent(self) -> bool:
        """See `upstream.http.Exchange`: what waits for a connection has not left."""
        return self.left or (self.under is not None and self.under.sent)

    @property
    def over(self) -> bool:
        """Whether nothing more may be told."""
        return self._receiver is None

    def abort(self) -> None:
        """See `upstream.http.Exchange`."""
        if self._settle() is not None:
            self._part()

    def end(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """The whole of a plain answer."""
        receiver = self._settle()
        if receiver is None:
            return
        if not self._begun:
            receiver.on_head(status, headers if headers is not None else _JSON)
            if body:
                receiver.on_data(body)
        receiver.on_end()

    def answer(self, raw: bytes, session: str) -> None:
        """The answer that was waited for."""
        if self._begun:
            self.tell(raw)
            receiver = self._settle()
            if receiver is not None:
                receiver.on_end()
            return
        opens = self.frame is not None and self.frame.method == methods.INITIALIZE
        self.end(200, raw, {**_JSON, SESSION: session} if opens else _JSON)

    def begin(self) -> None:
        """Messages follow, one by one."""
        if self._receiver is not None and not self._begun:
            self._begun = True
            self._receiver.on_head(200, _EVENTS)

    def tell(self, raw: bytes) -> None:
        """One message of a stream."""
        self.begin()
        if self._receiver is not None:
            self._receiver.on_data(b"data: %b\n\n" % raw)

    def fail(self, why: str) -> None:
        """No answer will come. What has not left does not leave any more."""
        receiver = self._settle()
        if receiver is not None:
            self.left = self.sent
            self._part()
            receiver.on_failed(self.left, why)

    def soon(self, status: int) -> "Reply":
        """A plain answer that nobody had to be asked for. Nothing was sent."""
        asyncio.get_running_loop().call_soon(self.end, status)
        return self

    def _settle(self) -> Receiver | None:
        """Ends it; returns who is to be told, once."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None and self.channel is not None:
            self.channel.forget(self)
        if receiver is not None and self.under is not None:
            asyncio.get_running_loop().call_later(LINGER, self._part)
        return receiver

    def _part(self) -> None:
        """Nobody waits for the request's own exchange: its connection is not kept for it."""
        if self.under is not None:
            self.under.abort()
            self.under = None


class Channel:
    """Who waits for what on one stream, from its opening until it breaks."""

    def __init__(self) -> None:
        self.session = f"acp-stdio-{next(_numbers)}"
        """An id of ours: neither transport has one that a client learns of."""
        self.greeted = False
        """An `initialize` was answered on it: the session has begun."""
        self._batches = False
        """It agreed on the one revision of MCP that has JSON-RPC batches."""
        self._waiting: dict[bytes, Reply] = {}
        self._listener: Reply | None = None
        self._unheard: deque[bytes] = deque()
        self._unheard_bytes = 0

    def expect(self, reply: Reply) -> bool:
        """Waits for the answer to a request; False where its id is in use. What is no request has no answer."""
        frame = reply.frame
        if frame is None or not frame.is_request or frame.id is None:
            return True
        key = frames.id_key(frame.id)
        if key in self._waiting:
            return False
        self._waiting[key] = reply
        reply.channel = self
        return True

    def listen(self, reply: Reply) -> None:
        """The session's own stream: what the server says unasked comes here from now on."""
        if self._listener is not None:
            self._listener.end(200)
        self._listener = reply
        reply.channel = self
        reply.begin()
        while self._unheard and not reply.over:
            reply.tell(self._next_unheard())

    def forget(self, reply: Reply) -> None:
        """Nobody waits for it any more; its late answer is nobody's."""
        if self._listener is reply:
            self._listener = None
        elif reply.frame is not None and reply.frame.id is not None:
            key = frames.id_key(reply.frame.id)
            if self._waiting.get(key) is reply:
                del self._waiting[key]

    def receive(self, raw: bytes) -> None:
        """One line or event from the server: a message, or a batch where the revision has them."""
        for message in frames.messages(one_line(raw), batches=self._batches):
            if isinstance(message, BadFrame) or not message.is_response:
                self._unasked(raw if isinstance(message, BadFrame) else message.raw)
            else:
                self._answered(message)

    def close(self, why: str) -> None:
        """The stream broke or was ended: whoever waits hears so."""
        waiting, self._waiting = list(self._waiting.values()), {}
        listener, self._listener = self._listener, None
        for reply in [*waiting, *([listener] if listener else [])]:
            reply.fail(why)

    def _answered(self, frame: Frame) -> None:
        key = frames.id_key(frame.id) if frame.id is not None else b"null"
        if key == b"null" and len(self._waiting) == 1:
            (key,) = self._waiting  # an error may come without the id that could not be read: there is one asker
        reply = self._waiting.pop(key, None)
        if reply is None:
            return  # late, after a cancellation, or to nothing that was asked
        if reply.frame is not None and reply.frame.method == methods.INITIALIZE and frame.result is not None:
            self.greeted = True
            self._batches = _version(frame.result) == methods.BATCH_VERSION
        reply.answer(frame.raw, self.session)

    def _unasked(self, raw: bytes) -> None:
        heard = self._listener or next(reversed(self._waiting.values()), None)
        if heard is not None:
            heard.tell(raw)
            return
        if len(self._unheard) == MAX_UNHEARD:
            self._next_unheard()
        self._unheard.append(raw)
        self._unheard_bytes += len(raw)
        while self._unheard_bytes > MAX_UNHEARD_BYTES:
            self._next_unheard()

    def _next_unheard(self) -> bytes:
        raw = self._unheard.popleft()
        self._unheard_bytes -= len(raw)
        return raw
