"""Reads the local audit trails back, to show them and to hold them against the backend's log."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the trail: its intent and what became of it."""

    time: str
    intent: str
    """The intent's id: what the backend was sent as `X-Request-Id`."""
    user: str
    agent: str
    tool: str
    outcome: str
    reason: str

    def line(self) -> str:
        told = f"{self.time} user={self.user} agent={self.agent} tool={self.tool} outcome={self.outcome}"
        return f"{told} reason={self.reason}" if self.reason else told


def calls(state: Path) -> list[Call]:
    """All tool calls below a state directory, oldest first; a call without an outcome has an empty one."""
    opened: dict[str, Call] = {}
    found: list[Call] = []
    for file in sorted(state.rglob("*.jsonl")):
        for text in file.read_text(encoding="utf-8").splitlines():
            record = json.loads(text)
            event = record.get("event", "")
            if not event.startswith("call.") or not record.get("tool"):
                continue
            if event == "call.intent":
                opened[record["call"]] = _call(record, record["id"])
            else:
                intent = opened.pop(record["call"], None)
                found.append(_call(record, intent.intent if intent else ""))
    return sorted([*found, *opened.values()], key=lambda call: call.time)


def _call(record: dict[str, Any], intent: str) -> Call:
    user: dict[str, Any] = record.get("user") or {}
    agent: dict[str, Any] = record.get("agent") or {}
    name = str(user.get("label", "-"))
    program = f"{agent.get('name', '-')}/{agent.get('version', '')}"
    outcome = record.get("outcome", "denied" if record.get("event") == "call.denied" else "")
    return Call(
        time=str(record.get("time", "")),
        intent=intent,
        user=name,
        agent=program,
        tool=str(record.get("tool", "")),
        outcome=str(outcome),
        reason=str(record.get("reason") or ""),
    )


def forge(state: Path, tool: str, other: str) -> None:
    """What somebody with an editor would do: the first record of `tool` now tells of another. Raises `ValueError`."""
    old, new = f'"tool":"{tool}"'.encode(), f'"tool":"{other}"'.encode()
    for file in sorted(state.rglob("*.jsonl")):
        content = file.read_bytes()
        if old in content:
            file.write_bytes(content.replace(old, new, 1))
            return
    raise ValueError(f"no record of {tool} is in the trail")
