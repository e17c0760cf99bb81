"""Rules as values: what they ask, whom they hit, and how they add up.

In each layer (administrator, company file, person) a call is denied if a rule that applies denies it, else
allowed if one allows it, else the layer's `default` decides. It passes only if every layer allows it.

So the order of rules means nothing, one more `deny` can only tighten, and a lower layer can only tighten.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from acp_stdio.policy.globs import any_of
from acp_stdio.policy.values import Truth, every, negated, some

Effect = Literal["allow", "deny"]
Evidence = Literal["self_reported", "os_observed", "proven"]
Changes = Literal["ask", "report", "ignore"]
EVIDENCE: Final[tuple[Evidence, ...]] = ("self_reported", "os_observed", "proven")
"""How it is known which program an agent is, weakest first."""
CHANGES: Final[tuple[Changes, ...]] = ("ignore", "report", "ask")
"""What a changed tool definition leads to, weakest first."""
TOOL, PROMPT, RESOURCE = "tool", "prompt", "resource"
KINDS: Final[Mapping[str, str]] = {
    "tools/call": TOOL,
    "prompts/get": PROMPT,
    "resources/read": RESOURCE,
    "resources/subscribe": RESOURCE,
}
"""MCP methods that name something, and what that is."""


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = _Unknown()
"""In place of arguments that nobody has seen yet."""

Clock = Callable[[str], tuple[int, int]]
"""From a zone's name (empty: this computer's) to the weekday, Monday 0, and the minute of the day."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Which program asks."""

    name: str = ""
    """What it says of itself, and so is its version."""
    version: str = ""
    executable: str = ""
    """The program that started us, as the system says; empty where that is not known."""
    act: str = ""
    """Who acts for the person, as the verified token says (RFC 8693 section 4.1); empty where it does not."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One request, as far as it is known."""

    upstream: str
    method: str
    name: str
    """The tool's or prompt's name, the resource's URI; empty for other methods."""
    arguments: Any = UNKNOWN
    claims: Mapping[str, Any] | None = None
    """The verified token's. A claim that is not there is not known; None: no token yet."""
    agent: Agent = Agent()
    clock: Clock | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition."""

    words: str
    """For people: what it asks."""
    holds: Callable[[Facts], Truth]


Conditions = tuple[Condition, ...]
"""All must hold."""


class Rate(NamedTuple):
    """More calls than these in any such time: the rule applies."""

    calls: int
    seconds: float
    each: Literal["rule", "tool"]
    """What is counted together: all that the rule fits, or each tool by itself."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one layer."""

    id: str
    """With the layer's name, as the trail shows it: `managed/no-deletes`."""
    effect: Effect
    about: Conditions
    when: tuple[Conditions, ...] = ()
    """One of them must hold; none: always."""
    unless: tuple[Conditions, ...] = ()
    """Where one of them holds, the rule does not apply."""
    rate: Rate | None = None
    message: str = ""
    """What the agent is told; empty: nothing but that it was denied."""

    def applies(self, facts: Facts) -> Truth:
        """Whether it applies, its rate aside."""
        about: Truth = True
        for test in self.about:  # a loop, since most rules are about something else, and end here
            holds = test.holds(facts)
            if holds is False:
                return False
            about = about and holds
        if not (self.when or self.unless):
            return about
        when = _one(self.when, facts) if self.when else True
        return every((about, when, negated(_one(self.unless, facts))))


def _one(groups: tuple[Conditions, ...], facts: Facts) -> Truth:
    return some(every(test.holds(facts) for test in tests) for tests in groups)


@dataclass(frozen=True, slots=True)
class Layer:
    """What one file says."""

    name: str
    rules: tuple[Rule, ...] = ()
    default: Effect = "allow"
    changes: Changes | None = None
    """None: it says nothing about changed tools."""
    accepted: frozenset[str] = frozenset()
    """Digests of tool definitions that need nobody's further consent."""
    reads_arguments: bool = True
    """Whether a rule asks for an argument's value; if none does, nobody needs to read them."""


@dataclass(frozen=True, slots=True)
class KnownAgent:
    """By what an agent of this name is known, besides its own word."""

    name: str
    executable: tuple[str, ...] = ()
    """Patterns of its program's path."""
    act: tuple[str, ...] = ()
    """Patterns of what the provider calls it in a token."""


Agents = tuple[KnownAgent, ...]


def evidence(agents: Agents, agent: Agent) -> Evidence:
    """The strongest evidence for the name that the agent gives itself; the first entry of that name counts."""
    known = next((known for known in agents if known.name == agent.name and agent.name), None)
    if known is None:
        return "self_reported"
    if agent.act and any_of(known.act)(agent.act):
        return "proven"
    if agent.executable and any_of(known.executable)(agent.executable):
        return "os_observed"
    return "self_reported"


@dataclass(frozen=True, slots=True)
class Policy:
    """All layers, strongest first."""

    layers: tuple[Layer, ...] = ()
    version: str = ""
    """A digest of what all layers say, for the trail; empty where no layer says anything."""
    agents: Agents = ()
    """Those of all layers; the strongest layer's word about a name comes first."""

    @property
    def reads_arguments(self) -> bool:
        """Whether any rule asks for an argument's value."""
        return any(layer.reads_arguments for layer in self.layers)

    @property
    def accepted(self) -> frozenset[str]:
        """Changed tool definitions that a file accepts, by digest."""
        return frozenset[str]().union(*(layer.accepted for layer in self.layers))

    @property
    def changes(self) -> Changes:
        """What a changed tool leads to: the strictest word; `ask` where nobody says one."""
        said = {layer.changes for layer in self.layers} - {None} or {"ask"}
        return "ask" if "ask" in said else "report" if "report" in said else "ignore"
