"""The test itself: which of these tokens does the server let in, what does it say about itself, whom does it name?"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import jwt

from acp_stdio.errors import Failure
from acp_stdio.identity.binding import BEARER, BOUND
from acp_stdio.identity.model import AccessToken, Account
from acp_stdio.oauth.challenge import parse_challenge
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.presets import Preset
from acp_stdio.oauth.resource import protected_resource
from acp_stdio.probe.backend_log import BackendLog, names, shown
from acp_stdio.probe.finding import Finding
from acp_stdio.probe.forge import Forgery, algorithm_of, forgeries, not_a_token
from acp_stdio.probe.scrub import holds, without
from acp_stdio.probe.stranger import StrangersHouse
from acp_stdio.probe.visit import LEGACY, Question, Seen, Visitor
from acp_stdio.settings.model import NetworkSettings, UpstreamSettings

LATE: Final = 65.0
"""Seconds after its end from which on no server may take a token: a minute for clocks that differ, and a little."""
_LOOK: Final = "Verify each call's token (issuer, signature, audience, expiry), as configs/guides/backends.md shows."
_LOG: Final = "Write the verified person (`sub`, and a readable name) and X-Request-Id into the line of each call."


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in, with a fresh token for the server."""

    account: Account
    token: AccessToken
    request_id: str
    """For their call; in their trail too."""

    @property
    def names(self) -> tuple[str, ...]:
        """What a log may call them."""
        return (self.account.label, self.account.email, self.account.sub, self.account.key)


@dataclass(frozen=True, slots=True)
class Case:
    """One server, and all that it is tried with."""

    upstream: UpstreamSettings
    network: NetworkSettings
    preset: Preset
    issuer: str
    question: Question
    own: Person
    keys: jwt.PyJWKSet | None
    """The issuer's published ones."""
    foreign: tuple[str, AccessToken] | None
    """A genuine token for somebody else, and what it is."""
    foreign_missing: str = ""
    """Why there is none."""
    other: Person | None = None
    shared: AccessToken | None = None
    """The API key that agents use today, where one was given."""
    log: BackendLog | None = None
    wait: float = 0.0
    """Seconds that the person is willing to wait for their token to expire."""
    progress: Callable[[str], None] = field(default=lambda _: None)


def examine(case: Case) -> tuple[str, list[Finding]]:
    """The server's era and all findings, in the order of the report. Raises `Failure` where it cannot be reached."""
    return asyncio.run(_Examination(case).run())


class _Examination:
    def __init__(self, case: Case) -> None:
        self._case = case
        self._found: list[Finding] = []
        people = [case.own, *([case.other] if case.other else [])]
        self._sent = [person.token.value for person in people]
        self._sent += [token.value for token in (case.shared, case.foreign and case.foreign[1]) if token]
        self._own_let_in = False

    async def run(self) -> tuple[str, list[Finding]]:
        case = self._case
        async with Visitor(case.upstream, case.network, case.question) as visitor:
            case.progress("your own token")
            own = await visitor.visit(case.own.token, request_id=case.own.request_id)
            self._own(own)
            nobody = await self._refused(visitor, None, "no token", "anybody is let in", _LOOK)
            self._challenge(nobody)
            await self._unproven(visitor)
            await self._shared(visitor)
            await self._forged(visitor)
            await self._foreign(visitor)
            await self._session(visitor, own)
            other = await self._other(visitor, own)
            await self._expired(visitor)
            await visitor.leave(case.own.token, own.session)
            self._metadata(nobody)
            self._log(case.own, own, "the log names you")
            if case.other is not None and other is not None:
                self._log(case.other, other, f"the log names {case.other.account.label}")
            self._no_token_in_the_log()
            return visitor.era or LEGACY, self._found

    def _add(self, *finding: Finding) -> None:
        self._found.extend(finding)

    def _shown(self, line: str) -> str:
        return shown(without(line, self._sent))  # before it is shortened

    def _own(self, seen: Seen) -> None:
        self._own_let_in = seen.let_in
        if seen.let_in:
            self._add(Finding("your own token", "pass", f"let in: {seen.said}", request_ids=(seen.request_id,)))
            return
        said = f"refused ({seen.said}): the server does not take this person's token for it"
        advice = "Have the server take tokens of your identity provider; `acp-stdio doctor` says what is in yours."
        self._add(Finding("your own token", "fail", said, advice, (seen.request_id,)))

    async def _refused(
        self, visitor: Visitor, token: AccessToken | None, name: str, meaning: str, advice: str, session: str = ""
    ) -> Seen:
        """Tries something that must be refused."""
        self._case.progress(name)
        seen = await visitor.visit(token, session=session)
        self._add(self._judged(name, seen, meaning, advice))
        if not session and token is not None:
            await visitor.leave(token, seen.session)
        return seen

    def _judged(self, name: str, seen: Seen, meaning: str, advice: str) -> Finding:
        ids = (seen.request_id,)
        if seen.let_in:
            return Finding(name, "fail", f"LET IN: {meaning}", advice, ids)
        if not self._own_let_in:
            said = f"refused ({seen.said}), as your own token is, so this tells nothing"
            return Finding(name, "not tested", said, request_ids=ids)
        if seen.status is None or seen.status >= 500:
            said = f"not let in, but the server did not cope: {seen.said}"
            return Finding(name, "warning", said, "Answer a bad token with 401, not with a failure.", ids)
        if seen.status < 400:
            said = f"refused within MCP ({seen.said}), not with HTTP 401: hosts cannot tell that a sign-in would help"
            return Finding(name, "warning", said, "Answer 401 with a WWW-Authenticate challenge (RFC 6750).", ids)
        return Finding(name, "pass", f"refused with {seen.status}", request_ids=ids)

    def _challenge(self, nobody: Seen) -> None:
        if nobody.let_in or nobody.status != 401:
            return
        scheme = next((each for each in (BEARER, BOUND) if nobody.challenge.lower().startswith(each.lower())), "")
        if scheme:
            self._add(Finding("says how to sign in", "pass", f"401 with a {scheme} challenge"))
        else:
            said = "401 without a Bearer challenge in WWW-Authenticate (RFC 6750 section 3)"
            advice = 'Add WWW-Authenticate: Bearer resource_metadata="…" to the 401.'
            self._add(Finding("says how to sign in", "warning", said, advice))

    async def _unproven(self, visitor: Visitor) -> None:
        """RFC 9449 section 7.2: a bound token that comes as a bearer's must not be taken."""
        bound = self._case.own.token
        if bound.token_type == BOUND:
            name, meaning = "your own token, without a proof of its key", "whoever gets hold of a token can use it"
            advice = "Refuse tokens with `cnf` in them that come without a DPoP proof (RFC 9449 section 7.2)."
            await self._refused(visitor, replace(bound, token_type=BEARER, proof_key=None), name, meaning, advice)

    async def _shared(self, visitor: Visitor) -> None:
        case = self._case
        if case.shared is None:
            return
        case.progress("the shared API key")
        seen = await visitor.visit(case.shared)
        await visitor.leave(case.shared, seen.session)
        if not seen.let_in:
            said = f"no longer let in ({seen.said})"
            self._add(Finding("the shared API key", "pass", said, request_ids=(seen.request_id,)))
            return
        meaning = "LET IN: whoever has the key is everybody, and nobody can tell who asked"
        advice = "Withdraw the key once every agent sends the person's own token."
        self._add(Finding("the shared API key", "fail", meaning, advice, (seen.request_id,)))
        if case.log is not None:
            lines = case.log.lines_with(seen.request_id)
            if lines:
                self._add(Finding("the log with the key", "info", self._shown(lines[-1])))

    async def _forged(self, visitor: Visitor) -> None:
        await self._forgery(visitor, not_a_token())
        algorithm = algorithm_of(self._case.own.token.value)
        if not algorithm:
            self._add(Finding("forged tokens", "not tested", "this server's tokens cannot be read, so none was forged"))
            return
        with StrangersHouse(algorithm) as house:
            for forgery in forgeries(self._case.own.token.value, self._case.keys, house.stranger):
                await self._forgery(visitor, forgery)
            if house.asked:
                said = "the server fetched keys from an address that only a forged token named"
                advice = "Take the keys' address from your configuration, never from a token (SSRF, RFC 8725 3.10)."
                self._add(Finding("asks strangers for keys", "fail", said, advice))

    async def _forgery(self, visitor: Visitor, forgery: Forgery) -> None:
        await self._refused(visitor, self._as(forgery), forgery.name, forgery.meaning, forgery.advice)

    def _as(self, forgery: Forgery) -> AccessToken:
        return replace(self._case.own.token, value=forgery.token)

    async def _foreign(self, visitor: Visitor) -> None:
        if self._case.foreign is None:
            self._add(Finding("a token for somebody else", "not tested", self._case.foreign_missing))
            return
        name, token = self._case.foreign
        meaning = "any service that is sent a token of yours can use it here"
        advice = "Compare `aud` with this server's own name (RFC 9068 section 4)."
        await self._refused(visitor, token, f"a token for somebody else ({name})", meaning, advice)

    async def _session(self, visitor: Visitor, own: Seen) -> None:
        if not own.session:
            return
        meaning = "a session's id is enough to act as the person who opened it"
        advice = "Verify the token of every request; a session is not a proof (MCP security best practices)."
        await self._refused(visitor, None, "no token, in your session", meaning, advice, own.session)

    async def _other(self, visitor: Visitor, own: Seen) -> Seen | None:
        other = self._case.other
        if other is None:
            return None
        who = other.account.label
        self._case.progress(who)
        seen = await visitor.visit(other.token, request_id=other.request_id)
        await visitor.leave(other.token, seen.session)
        if not seen.let_in:
            self._add(Finding(f"the token of {who}", "info", f"refused ({seen.said})", request_ids=(seen.request_id,)))
            return seen
        if self._case.question.tool:
            said = f"let in: {seen.said}"
        elif own.tools == seen.tools:
            said = f"the same {len(own.tools)} tools as you: rights, if any, show only when a tool is called"
        else:
            mine, theirs = sorted(set(own.tools) - set(seen.tools)), sorted(set(seen.tools) - set(own.tools))
            said = f"another list of tools; only you: {_few(mine)}; only {who}: {_few(theirs)}"
        self._add(Finding(f"the token of {who}", "info", said, request_ids=(seen.request_id,)))
        return seen

    async def _expired(self, visitor: Visitor) -> None:
        token = self._case.own.token
        left = token.expires_at + LATE - time.time()
        if left > self._case.wait:
            said = (
                f"yours lives for {max(0.0, token.expires_at - time.time()):.0f} s more; --wait {left:.0f} waits for it"
            )
            self._add(Finding("an expired token", "not tested", said))
            return
        self._case.progress(f"an expired token (waiting {max(0.0, left):.0f} s)")
        await asyncio.sleep(max(0.0, left))
        meaning = "a token that was seen once works for ever, also after its person has left"
        await self._refused(visitor, token, "an expired token", meaning, "Check `exp`.")

    def _metadata(self, nobody: Seen) -> None:
        self._case.progress("the metadata")
        url = self._case.upstream.url
        name = "protected resource metadata"
        pointer = parse_challenge(nobody.challenge).resource_metadata
        try:
            with open_client(self._case.network) as http:
                found = protected_resource(url, http, challenge=pointer or None)
            if found is None:
                said = "there is none, so a client that has no configuration cannot find the identity provider"
                self._add(Finding(name, "fail", said, "Publish it (RFC 9728); MCP authorization requires it."))
                return
            found.require_issuer(self._case.issuer, self._case.preset)
        except Failure as failure:
            self._add(Finding(name, "fail", failure.message, "Correct `resource` and `authorization_servers` there."))
            return
        if not found.authorization_servers:
            self._add(Finding(name, "fail", "names no authorization server", "Add `authorization_servers`."))
        elif not pointer:
            said = "right, but the 401 does not point to it"
            self._add(Finding(name, "warning", said, 'Add resource_metadata="…" to the challenge of the 401.'))
        else:
            self._add(Finding(name, "pass", f"right: {found.resource}, tokens of {self._case.issuer}"))

    def _log(self, person: Person, seen: Seen, name: str) -> None:
        log = self._case.log
        if log is None:
            return
        self._case.progress(name)
        ids = (person.request_id,)
        if not seen.let_in:
            self._add(Finding(name, "not tested", "that call was not let in", request_ids=ids))
            return
        lines = log.lines_with(person.request_id)
        if not lines:
            said = f"no line of {log.path.name} has the request id of this call, so nobody can find it there"
            advice = _LOG if self._case.question.tool else f"{_LOG} If only tools are logged: add --tool NAME."
            self._add(Finding(name, "fail", said, advice, ids))
        elif line := next((line for line in lines if names(line, person.names)), ""):
            self._add(Finding(name, "pass", self._shown(line), request_ids=ids))
        else:
            self._add(
                Finding(
                    name, "fail", f"the line is there and does not name the person: {self._shown(lines[-1])}", _LOG, ids
                )
            )

    def _no_token_in_the_log(self) -> None:
        log = self._case.log
        if log is None:
            return
        if holds(log.new_text(), self._sent):
            said = "the log holds the token itself: whoever reads the log can be that person"
            self._add(Finding("no token in the log", "fail", said, "Never write the Authorization header to a log."))
        else:
            self._add(Finding("no token in the log", "pass", "none of those that were sent"))


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
