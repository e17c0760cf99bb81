"""Who is asking, and the line of the log that says so."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote

_PLAIN: Final = "@/.:+()_-"
_LONGEST: Final = 200
_OUR_AGENT: Final = re.compile(r"acp-stdio/\S+ \((?P<agent>[^()]+)\)")


@dataclass(frozen=True, slots=True)
class Caller:
    """A person, proven by a token, and what they are asking for."""

    user: str
    """The key: stable, for comparing and for rights."""
    label: str
    """What people read, an e-mail address where the token has one. Not for comparing."""
    client: str = ""
    """The program that the identity provider issued the token to."""
    scopes: frozenset[str] = frozenset()
    agent: str = ""
    """`name/version` of the program behind the call, as it says itself."""
    tool: str = ""
    """Empty where the request calls none."""
    request_id: str = ""
    """`X-Request-Id`: through acp-stdio, the id of the record in the caller's own trail."""
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """Of the token, verified."""
    statement: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """Of the `ACP-Assertion`, verified; empty where none is asked for. `act` says how the agent is known."""

    def asking(
        self, headers: Mapping[str, str], tool: str = "", client_info: tuple[str, str] | None = None
    ) -> "Caller":
        """The same person with what a request says. `headers` with lower-case names."""
        agent = agent_of(headers.get("user-agent", ""), client_info)
        return replace(self, agent=agent, tool=tool, request_id=headers.get("x-request-id", ""))

    def line(self, outcome: str) -> str:
        """`user=… sub=… agent=… tool=… request=… outcome=…`, where `outcome` is a word of yours such as `ok`."""
        return (
            f"user={word(self.label)} sub={word(self.user)} agent={word(self.agent)}"
            f" tool={word(self.tool)} request={word(self.request_id)} outcome={word(outcome)}"
        )


NOBODY: Final = Caller(user="", label="")
"""Whoever did not prove who they are."""


def word(text: str) -> str:
    """`text` as one word of a line: whoever chose it cannot end the line or add a field (CWE-117)."""
    return quote(text, safe=_PLAIN, errors="replace")[:_LONGEST] or "-"


def agent_of(user_agent: str, client_info: tuple[str, str] | None = None) -> str:
    """The program behind the call, as it says itself: named by acp-stdio, else by the MCP client."""
    named = _OUR_AGENT.search(user_agent)
    if named:
        return named["agent"]
    if client_info:
        return "/".join(client_info)
    return user_agent.partition(" ")[0]
