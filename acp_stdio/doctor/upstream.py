"""One MCP server: what it says about itself, and whether it asks who is calling."""

import asyncio
import json
from typing import Final

from acp_stdio import __version__
from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok, problem, warning
from acp_stdio.oauth.http import open_client
from acp_stdio.oauth.presets import preset_of
from acp_stdio.oauth.resource import protected_resource
from acp_stdio.oauth.words import plain
from acp_stdio.settings.model import UpstreamSettings
from acp_stdio.settings.origin import target_of
from acp_stdio.upstream.http import Connector
from acp_stdio.upstream.network import reach
from acp_stdio.wire.headers import header_block

_WITHIN: Final = 10.0
"""Seconds for one answer."""
_INITIALIZE: Final = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "acp-stdio doctor", "version": __version__},
        },
    }
).encode()


def metadata(case: Case, upstream: UpstreamSettings) -> Finding:
    """Protected resource metadata (RFC 9728), checked as at a sign-in. Raises `Failure`."""
    identity = case.settings.identity
    with open_client(case.settings.network) as http:
        found = protected_resource(upstream.url, http)
    if found is None and (upstream.audience or upstream.token_request in ("audience", "scope", "omit")):
        return ok("publishes no metadata (RFC 9728); the configuration says how its tokens are asked for")
    if found is None:
        return warning(
            f"{upstream.url} does not say which tokens it takes (RFC 9728); its url is taken for its name.",
            f"Ask whoever runs {upstream.name} for protected resource metadata, or set its audience.",
        )
    if identity.issuer:
        found.require_issuer(identity.issuer, preset_of(identity))
    details = {"resource": found.resource, "authorization_servers": list(found.authorization_servers)}
    if not found.authorization_servers:
        return ok(f"is {found.resource}, and leaves open whose tokens it takes", **details)
    whose = identity.issuer or ", ".join(plain(name) for name in found.authorization_servers)
    return ok(f"is {found.resource}, and takes tokens of {whose}", **details)


def access(case: Case, upstream: UpstreamSettings) -> Finding:
    """Opens an MCP session without a token, which a server that knows its users refuses with 401."""
    answer = asyncio.run(_ask(case, upstream))
    if answer.why:
        return problem("upstream_unreachable", f"{upstream.url}: {answer.why}.", "Check the network, then try again.")
    return judge(answer.status, answer.headers, upstream)


def judge(status: int, headers: dict[str, str], upstream: UpstreamSettings) -> Finding:
    """What an answer to a call without a token says; `headers` have names in lower case."""
    challenge = headers.get("www-authenticate", "").strip()
    details = {"status": status, "challenge": plain(challenge.partition(" ")[0], 40)}
    who = f"whoever runs {upstream.name}"
    if status == 401 and challenge.lower().startswith(("bearer", "dpop")):
        return ok("refuses a call without a token, with 401 and a challenge", **details)
    if status in (401, 403):
        return warning(
            f"{upstream.url} refuses a call without a token with {status}, but not as RFC 6750 wants it.",
            f"Ask {who} for a 401 with a `WWW-Authenticate: Bearer` challenge.",
            **details,
        )
    if 200 <= status < 300:
        return warning(
            f"{upstream.url} answers {status} to a call without a token: it does not check who is asking.",
            f"Ask {who} to require a token; until then its log cannot say who did what.",
            **details,
        )
    if 300 <= status < 400:
        return problem(
            "upstream_unreachable",
            f"{upstream.url} redirects ({status}) to {plain(headers.get('location', 'nowhere'))}; "
            "a token is not carried along.",
            f"Put the address that {who} names into the upstream's url.",
            **details,
        )
    if status >= 500 or status == 429:
        return problem(
            "upstream_unreachable",
            f"{upstream.url} answers {status}: it has a problem of its own.",
            f"Try again in a minute, then tell {who}.",
            **details,
        )
    return problem(
        "upstream_unreachable",
        f"{upstream.url} answers {status}, so it does not seem to be an MCP server.",
        "Check the upstream's url, to the last character.",
        **details,
    )


class _Answer:
    """Status and headers of one exchange, or why there is none (`upstream.http.Receiver`)."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.why = ""
        self.known = asyncio.Event()

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        """All that is wanted: a body may be a stream without an end."""
        self.status, self.headers = status, headers
        self.known.set()

    def on_data(self, data: bytes) -> None:
        """Not read."""

    def on_end(self) -> None:
        self.known.set()

    def on_failed(self, sent: bool, why: str) -> None:
        self.why = self.why if self.status else why
        self.known.set()


async def _ask(case: Case, upstream: UpstreamSettings) -> _Answer:
    target = target_of(upstream.url)
    connector = reach(upstream, case.settings.network)
    try:
        accept = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
        answer = await _exchange(connector, "POST", target, accept, _INITIALIZE)
        if session := answer.headers.get("mcp-session-id"):  # it let us in: leave nothing open there
            await _exchange(connector, "DELETE", target, [("Mcp-Session-Id", session)], b"")
        return answer
    finally:
        await connector.aclose()


async def _exchange(
    connector: Connector, method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> _Answer:
    answer = _Answer()
    lines = header_block([*headers, ("User-Agent", f"acp-stdio/{__version__} (doctor)")])
    exchange = connector.request(method, target, lines, body, answer, head_timeout=_WITHIN)
    await answer.known.wait()
    exchange.abort()
    return answer
