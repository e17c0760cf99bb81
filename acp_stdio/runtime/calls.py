"""Calls on their way: token, durable intent, request, and the outcome in the trail."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from acp_stdio.audit.arguments import Arguments
from acp_stdio.audit.record import Context, Record, record_id
from acp_stdio.audit.trail import Trail
from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.relay.answers import wants_another_proof, wants_the_person
from acp_stdio.relay.commands import CallRecord, EndSession, Headers, OpenStream, Post, Settle
from acp_stdio.runtime import records
from acp_stdio.runtime.gate import Gate, Verdict
from acp_stdio.runtime.heads import Heads
from acp_stdio.runtime.keeper import Keeper
from acp_stdio.runtime.turn import Turn
from acp_stdio.tokens.endings import ended_or_changed
from acp_stdio.upstream.attach import Attacher
from acp_stdio.upstream.http import Exchange
from acp_stdio.upstream.streamable_http import Answer
from acp_stdio.wire.ending import Ending

if TYPE_CHECKING:
    from acp_stdio.upstream.statements import Statements

log = logging.getLogger(__name__)

_POST: Final = (("Accept", "application/json, text/event-stream"), ("Content-Type", "application/json"))
_STREAM: Final = (("Accept", "text/event-stream"),)


class Listener(Protocol):
    """Who is told about calls; the shell passes it on to the relay."""

    def opened(self, call: int, session_id: str | None) -> None: ...

    def received(self, call: int, raw: bytes) -> None: ...

    def ended(self, call: int, ending: Ending) -> None: ...

    def refused(self, call: int, failure: Failure, *, turned_away: bool) -> None: ...


class Calls:
    """Sends what the relay posts. One row a call in `_live`; it leaves with the call's end."""

    def __init__(
        self,
        connector: Attacher,
        target: str,
        keeper: Keeper,
        trail: Trail,
        context: Callable[[], Context],
        agent: Callable[[], tuple[str, str]],
        gate: Gate,
        turn: Turn,
        listener: Listener,
        arguments: Arguments,
        statements: "Statements | None" = None,
    ) -> None:
        """`statements`: each request brings a signed one about itself."""
        self._connector = connector
        self._target = target
        self._keeper = keeper
        self._trail = trail
        self._context = context
        self._agent = agent
        self._gate = gate
        self._turn = turn
        self._listener = listener
        self._arguments = arguments
        self._statements = statements
        self._verdicts: dict[int, Verdict] = {}
        """What the rules said to a call, until its outcome is written."""
        self._live: dict[int, _Call] = {}
        self._intents: dict[int, records.Intent] = {}
        self._leaving: list[tuple[_Call, AccessToken]] = []
        """What leaves at the end of the turn."""
        self._outcomes: list[Record] = []
        """What is written then."""
        self._heads = Heads(agent)
        self._parted = asyncio.Event()
        self._parted.set()

    def post(self, command: Post) -> None:
        """Sends one frame as soon as there is a token for it."""
        self._begin(_Call(self, command.call, "POST", command.raw, _POST + command.headers, command.record))

    def open_stream(self, command: OpenStream) -> None:
        """Opens the session's GET stream."""
        self._begin(_Call(self, command.call, "GET", b"", _STREAM + command.headers, None))

    def end_session(self, command: EndSession) -> None:
        """Says goodbye to the session, if a token is at hand; see `parted`."""
        try:
            token = self._keeper.usable()
        except Failure:
            return
        if token is not None:
            goodbye = _Call(self, 0, "DELETE", b"", command.headers, None)
            self._parted.clear()
            goodbye.launch(token)

    async def parted(self) -> None:
        """Returns once no goodbye is on its way: a server that hears none keeps the session and what runs in it."""
        await self._parted.wait()

    def abort(self, call: int) -> None:
        """Closes the call's exchange, or forgets it while it waits for a token."""
        live = self._live.pop(call, None)
        if live is not None:
            live.abort()

    def withdraw(self, call: int) -> None:
        """Forgets the call while it waits for a token; one that has left does not leave again."""
        live = self._live.get(call)
        if live is not None and not live.has_left:
            self.abort(call)
        elif live is not None:
            live.may_repeat = live.may_prove = False

    def has_left(self, call: int) -> bool:
        """Whether a byte of the call may have reached the server."""
        live = self._live.get(call)
        return live is not None and live.has_left

    def settle(self, command: Settle) -> None:
        """Writes the outcome: one for each intent, or a denial where there was none.

        The call is over; a trail that has become unwritable cannot change that any more, and the
        next intent will be refused.
        """
        intent, verdict = self._intents.pop(command.call, None), self._verdicts.pop(command.call, None)
        if intent is not None:
            self._outcomes.append(records.outcome(command, intent))
        else:
            self._outcomes.append(records.denial(command, self._context(), verdict, self._arguments))
        if len(self._outcomes) == 1:
            self._turn.at_end(self._write_outcomes)

    def _write_outcomes(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        try:
            self._trail.append_all(outcomes)
        except Failure as failure:
            log.error("%d outcomes were not written: %s", len(outcomes), failure.message)

    def _begin(self, call: "_Call") -> None:
        self._live[call.number] = call
        try:
            token = self._keeper.usable()
        except Failure as failure:
            self.refuse(call, failure)
            return
        if token is not None:
            call.launch(token)
        else:
            call.wait_for_token()

    def refuse(self, call: "_Call", failure: Failure) -> None:
        """The call does not leave, and so it is not counted."""
        verdict = self._verdicts.get(call.number)
        if verdict is not None:
            verdict.undo()
        if not call.number:
            self._parted.set()
        if self._live.get(call.number) is call:
            del self._live[call.number]
            self._listener.refused(call.number, failure, turned_away=call.turned_away)

    def leave(self, call: "_Call", token: AccessToken) -> None:
        """Sends the call, together with all others of this turn."""
        self._leaving.append((call, token))
        if len(self._leaving) == 1:
            self._turn.at_end(self._all_leave)

    def _all_leave(self) -> None:
        """The intents, a last look at the session, then the requests. Who is refused hears it when all is done."""
        leaving, self._leaving = self._leaving, []
        refused: list[tuple[_Call, Failure]] = []
        ready: list[tuple[_Call, AccessToken]] = []
        intents: dict[int, records.Intent] = {}
        for call, token in leaving:
            if call.number and self._live.get(call.number) is not call:
                continue  # it was aborted meanwhile
            try:
                if not self._keeper.still_holds(token):  # else the intent would name another person than the token
                    raise ended_or_changed(self._keeper.session())
                self._gate.use(token)
                if call.record is not None and call.number not in self._intents:
                    intents[call.number] = self._intent(call, call.record, token)
                ready.append((call, token))
            except Failure as failure:
                refused.append((call, failure))
            except Exception as error:
                _report(error)
        try:
            heads = self._trail.append_all([intent.record for intent in intents.values()])
        except Failure as failure:
            refused += [(call, failure) for call, _ in ready if call.number in intents]
            ready = [(call, token) for call, token in ready if call.number not in intents]
        else:
            for intent, head in zip(intents.values(), heads, strict=True):
                intent.head = head
            self._intents |= intents
        self._turn.look_anew()
        for call, token in ready:
            try:
                call.went(self._send(call, token))
            except Failure as failure:
                refused.append((call, failure))
            except ValueError:  # raised before anything is sent
                why = "The server gave an id for its session or its stream that HTTP does not carry."
                refused.append((call, Failure("upstream_unreachable", why, "Ask the people who run it.")))
            except Exception as error:
                _report(error)
        for call, failure in refused:
            self.refuse(call, failure)

    def _send(self, call: "_Call", token: AccessToken) -> Exchange:
        if not self._keeper.still_holds(token):
            raise ended_or_changed(self._keeper.session())
        intent = self._intents.get(call.number)
        request_id = intent.call if intent else record_id()
        own = (("X-Request-Id", request_id), ("traceparent", intent.trace if intent else records.new_trace()))
        if self._statements is not None:
            own += (self._statement(call, token, request_id, intent),)
        if intent and call.turned_away:
            intent.leaves_again_with(token)
        block = self._heads.block(call.headers, own)
        answer = Answer(call)
        answer.exchange = self._connector.request(token, call.method, self._target, block, call.body, answer)
        return answer.exchange

    def _statement(
        self, call: "_Call", token: AccessToken, request_id: str, intent: records.Intent | None
    ) -> tuple[str, str]:
        assert self._statements is not None
        name, version = self._agent()
        verdict = self._verdicts.get(call.number)
        return self._statements.header(
            token,
            user=self._context().user or {},
            act=verdict.agent if verdict else {"name": name, "version": version, "evidence": "self_reported"},
            body=call.body,
            request_id=request_id,
            head=self._trail.head if intent is None else intent.head,
        )

    def _intent(self, call: "_Call", about: CallRecord, token: AccessToken) -> records.Intent:
        context = self._context()
        verdict = self._gate.judge(about, call.body, str((context.user or {}).get("sub", "")))
        self._verdicts[call.number] = verdict
        if verdict.refusal is not None:
            raise verdict.refusal
        self._trail.admit()
        return records.intent(about, context, token, verdict, self._arguments)

    def opened(self, call: "_Call", session_id: str | None) -> None:
        self._listener.opened(call.number, session_id)

    def received(self, call: "_Call", raw: bytes) -> None:
        if len(self._intents) > 1:  # the answers to others may be here, too
            self._turn.last()
        self._listener.received(call.number, raw)

    def ended(self, call: "_Call", ending: Ending) -> None:
        if not call.number:
            self._parted.set()
        if self._live.pop(call.number, None) is not None:
            self._listener.ended(call.number, ending)

    @property
    def keeper(self) -> Keeper:
        """Where a call asks for its token."""
        return self._keeper


def _report(error: Exception) -> None:
    """A defect of ours: that call stays here and ends with its deadline, and the others leave."""
    asyncio.get_running_loop().call_exception_handler({"message": "a call could not leave", "exception": error})


class _Call:
    """One HTTP exchange (`upstream.streamable_http.Sink`), sent again at most once, after a 401."""

    def __init__(
        self, calls: Calls, number: int, method: str, body: bytes, headers: Headers, record: CallRecord | None
    ) -> None:
        self.number, self.method, self.body, self.headers, self.record = number, method, body, headers, record
        self._calls = calls
        self._token: AccessToken | None = None
        self._exchange: Exchange | None = None
        self.may_repeat, self.may_prove = number != 0, True
        """After a 401, unless nobody waits any more: once with a new token (no goodbye), once with a new proof."""
        self.turned_away = False  # by a 401: it has been at the server, although it does not leave again
        self._over = False

    def launch(self, token: AccessToken) -> None:
        self._token = token
        self._calls.leave(self, token)

    def went(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def wait_for_token(self) -> None:
        self._calls.keeper.acquire(self._got_token, self._token)

    @property
    def has_left(self) -> bool:
        return self._exchange is not None and self._exchange.sent

    def abort(self) -> None:
        self._over = True
        self._calls.keeper.forget(self._got_token)
        if self._exchange is not None:
            self._exchange.abort()

    def opened(self, session_id: str | None) -> None:
        self._calls.opened(self, session_id)

    def received(self, raw: bytes) -> None:
        if not self._over:
            self._calls.received(self, raw)

    def ended(self, ending: Ending) -> None:
        if self._over:
            return
        if ending.status == 401 and self.may_prove and self._token is not None and wants_another_proof(ending):
            self.may_prove, self.turned_away, self._exchange = False, True, None
            self.launch(self._token)
        elif ending.status == 401 and self.may_repeat and not wants_the_person(ending):
            # Refused, so nothing was done: once more with a new token.
            self.may_repeat, self.turned_away, self._exchange = False, True, None
            self.wait_for_token()
        else:
            self._over = True
            self._calls.ended(self, ending)

    def _got_token(self, answer: AccessToken | Failure) -> None:
        if self._over:
            return
        if isinstance(answer, Failure):
            self._calls.refuse(self, answer)
        else:
            self.launch(answer)
