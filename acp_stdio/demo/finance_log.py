"""One line a call: what an auditor of the finance server gets to read."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

_PLAIN: Final = "@/.:+()_-"
_LONGEST: Final = 200
_OUR_AGENT: Final = re.compile(r"acp-stdio/\S+ \((?P<agent>[^()]+)\)")


@dataclass(frozen=True, slots=True)
class Entry:
    """Who, through what, did what."""

    time: datetime
    user: str
    sub: str
    agent: str
    tool: str
    request: str
    outcome: str
    """`ok`, `denied` (the caller may not), or `error`."""

    def line(self) -> str:
        moment = self.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return (
            f"{moment} user={word(self.user)} sub={word(self.sub)} agent={word(self.agent)}"
            f" tool={word(self.tool)} request={word(self.request)} outcome={word(self.outcome)}"
        )


def word(text: str) -> str:
    """`text` as one word of a line: whoever chose it cannot end the line or add a field (CWE-117)."""
    return quote(text, safe=_PLAIN)[:_LONGEST] or "-"


def agent_of(user_agent: str, client_info: tuple[str, str] | None) -> str:
    """The program behind the call, as it says itself: named by acp-stdio, else by the MCP client."""
    named = _OUR_AGENT.search(user_agent)
    if named:
        return named["agent"]
    if client_info:
        return "/".join(client_info)
    return user_agent.partition(" ")[0]
