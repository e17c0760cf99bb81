"""Policies from text, as the program reads them."""

from pathlib import Path
from typing import Any

from acp_stdio.policy.rules import Agent, Clock, Facts, Policy
from acp_stdio.settings.load import read_policy
from acp_stdio.settings.policy import read
from acp_stdio.settings.sources import Entry, Problems, Source, parse


def at(day: int, minute: int) -> Clock:
    """A clock that stands still; Monday is 0."""
    return lambda _zone: (day, minute)


def policy_of(*layers: str) -> Policy:
    """The policy of these `[policy]` texts, strongest first: managed, then user."""
    problems = Problems()
    sources = [parse(Path(f"/{name}.toml"), text.encode(), problems) for name, text in zip("mu", layers, strict=False)]
    named = [
        (name, Entry(source.data["policy"], source, ("policy",)))
        for name, source in zip(("managed", "user"), sources, strict=False)
    ]
    found = read(named, problems)
    problems.stop_if_any()
    return found


def problems_of(text: str) -> list[str]:
    """What is wrong with a user's file, as `LINE: words`."""
    problems = Problems()
    read_policy([parse(Path("/config.toml"), text.encode(), problems)], problems, None)
    return [f"{line}: {words}" for _, line, words in sorted(problems.found)]


def from_data(*layers: dict[str, Any]) -> Policy:
    """The policy of layers that are data already; wrong ones are not told."""
    problems = Problems()
    source = Source(Path("/config.toml"), "", {})
    return read([(f"layer{n}", Entry(data, source, ("policy",))) for n, data in enumerate(layers)], problems)


def call(tool: str = "report", /, upstream: str = "finance", method: str = "tools/call", **known: Any) -> Facts:
    """A request about which everything is known."""
    agent = known.pop("agent", Agent("claude-ai", "1"))
    claims = known.pop("claims", {"groups": []})
    clock = known.pop("clock", at(0, 600))
    return Facts(upstream, method, tool, known, claims, agent, clock)
