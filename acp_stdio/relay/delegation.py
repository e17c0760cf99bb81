"""On whose behalf within the host: what it tells of sessions and sub-agents, and who acts by the token.

What a host says in `_meta` is its own word: it is recorded and passes through, and no rule asks for it. Hosts
agree on no names, so only those are read that are known to hold an identifier; a value may be anything else.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from msgspec import Raw

from acp_stdio.wire.members import members, text

TOLD: Final = (
    "claudecode/toolUseId",  # Claude Code
    "claude/toolUseId",
    "vscode.conversationId",  # VS Code
    "vscode.requestId",
    "openai/session",  # ChatGPT
    "ai.opencode/sessionID",  # OpenCode
    "antigravity.google/conversation_id",
    "threadId",  # Codex
)
TURN: Final = "x-codex-turn-metadata"
"""Codex: an object of its own."""
OF_THE_TURN: Final = ("session_id", "thread_id", "turn_id", "parent_thread_id", "subagent_kind")
LONGEST: Final = 128
MOST_ACTORS: Final = 8


def delegation(params: Raw, claims: Mapping[str, Any]) -> dict[str, Any]:
    """For the trail: `told` by the host, `act` by the verified token, the present actor first; empty if neither."""
    found: dict[str, Any] = {}
    if told := _told(params):
        found |= {"told": told, "evidence": "self_reported"}
    if actors := acting(claims):
        found["act"] = actors
    return found


def _told(params: Raw) -> dict[str, str]:
    if b"_meta" not in bytes(params):
        return {}
    meta = members(members(params).get("_meta"))
    turn = members(meta.get(TURN))
    said = {name: text(meta.get(name)) for name in TOLD if name in meta}
    said |= {f"{TURN}/{name}": text(turn.get(name)) for name in OF_THE_TURN if name in turn}
    return {name: value for name, value in said.items() if value and len(value) <= LONGEST and value.isprintable()}


def acting(claims: Mapping[str, Any]) -> list[str]:
    """Who acts for the person: the chain of the token's `act` claims (RFC 8693 section 4.1), the present one first."""
    found: list[str] = []
    act: Any = claims.get("act")
    while isinstance(act, dict) and len(found) < MOST_ACTORS:
        actor = cast("dict[str, Any]", act)
        name = actor.get("sub") or actor.get("client_id")
        if isinstance(name, str) and name.isprintable():
            found.append(name[:LONGEST])
        act = actor.get("act")
    return found
