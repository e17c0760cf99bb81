"""Where the rules meet a call: asked once before each intent, and for each list."""

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken
from acp_stdio.policy.pins import Pin, differing, digest, visible
from acp_stdio.relay import lists
from acp_stdio.relay.commands import CallRecord
from acp_stdio.relay.delegation import acting, delegation
from acp_stdio.runtime.pins import Pins
from acp_stdio.settings.policy_files import PolicyFiles
from acp_stdio.wire import methods

if TYPE_CHECKING:
    from acp_stdio.policy.decide import Decision, Limit
    from acp_stdio.policy.rules import Agent, Facts, Policy
    from acp_stdio.runtime.rates import Rates

log = logging.getLogger(__name__)

LISTED_FOR = {
    "tools/list": "tools/call",
    "prompts/list": "prompts/get",
    "resources/list": "resources/read",
    "resources/templates/list": "resources/read",
}
"""What somebody who lists things wants to ask for next."""


class Verdict(NamedTuple):
    """What the rules say to one call."""

    policy: dict[str, Any] | None
    """For the trail; None where there are no rules."""
    agent: dict[str, Any]
    """For the trail and the backend."""
    program: str
    """What started us, as the system says: for the trail, since a path may name the person."""
    delegation: dict[str, Any]
    """For the trail; see `relay.delegation`."""
    refusal: Failure | None
    undo: Callable[[], None]
    """To be called where the call is refused for another reason after all: then it does not count."""

    def recorded(self) -> dict[str, Any]:
        """What of it all records of the call have."""
        agent = {**self.agent, "executable": self.program} if self.program else self.agent
        told = {"delegation": self.delegation} if self.delegation else {}
        return {"agent": agent, "policy": self.policy, **told}


class Gate:
    """The rules of one upstream, as they are at each call."""

    def __init__(
        self,
        upstream: str,
        files: PolicyFiles,
        pins: Pins,
        state_dir: Path,
        agent: Callable[[], tuple[str, str]],
        executable: Callable[[], str] = lambda: "",
    ) -> None:
        """`agent`: name and version that the host gives itself; `executable`: the program that started us, as the
        system says."""
        self.upstream = upstream
        self._files = files
        self._pins = pins
        self.tell: Callable[[str, dict[str, Any]], None] = lambda _event, _about: None
        """Writes an event, and what is special about it, into the trail."""
        self._state_dir = state_dir
        self._named = agent
        self._executable = executable
        self._version: str | None = None
        """Of the rules that were looked at last."""
        self._shown: tuple[str | None, ...] = ()
        """What decided about the lists at the last look."""
        self._rates: Rates | None = None
        self._token: AccessToken | None = None
        self._observed = b""
        """The tools that were compared last."""
        self._claims: Mapping[str, Any] | None = None
        """What the newest token says; None before there is one."""

    def use(self, token: AccessToken | None) -> None:
        """The token that is at hand now; None: the sign-in ended or changed."""
        if token is not self._token:
            self._token = token
            self._claims = None if token is None else {**token.person, **token.claims}

    def judge(self, about: CallRecord, body: bytes, person: str) -> Verdict:
        """Judges the very bytes that are sent if it says so. `person`: whose calls a rate counts together.

        Raises `Failure("configuration_invalid")` where the rules cannot be read.
        """
        policy = self._current()
        agent = {"name": about.agent, "version": about.agent_version, "evidence": "self_reported"}
        known = agent, self._executable(), delegation(about.params, self._claims or {})
        if about.method == methods.TOOLS_CALL and about.tool in self._hidden(policy):
            said = {"rule": "tool_changes", "version": policy.version if policy else "", "decision": "deny"}
            return Verdict(said, *known, _not_accepted(self.upstream, about.tool), _nothing)
        if policy is None:
            return Verdict(None, *known, None, _nothing)
        from acp_stdio.policy import decide, rules

        facts = self._facts(policy, about, body)
        agent["evidence"] = rules.evidence(policy.agents, facts.agent)
        decision = decide.decide(policy, facts)
        undo = _nothing
        if decision.allowed and decision.limits:
            decision, undo = self._counted(decision, person)
        said = {"rule": decision.rule, "version": policy.version, "decision": "allow" if decision.allowed else "deny"}
        refusal = None if decision.allowed else _denied(self.upstream, about, decision.message)
        return Verdict(said, *known, refusal, undo)

    def sieve(self, method: str, result: bytes, live: bool) -> bytes:
        """A list without what this person may not ask for anyway. See `relay.desk.Sieve`."""
        policy = self._current()
        hidden: Collection[str] = ()
        if method == methods.TOOLS_LIST:
            if live:
                self._observe(policy, result)
            hidden = self._hidden(policy)
        result = lists.plain(method, result)
        if policy is None:
            return lists.sifted(method, result, lambda name, _: name not in hidden) if hidden else result
        from acp_stdio.policy.decide import may_be_listed
        from acp_stdio.policy.rules import Facts

        agent = self._agent(*self._named())

        def keep(name: str, _item: object) -> bool:
            facts = Facts(self.upstream, LISTED_FOR[method], name, claims=self._claims, agent=agent)
            return name not in hidden and may_be_listed(policy, facts)

        return lists.sifted(method, result, keep)

    def changed(self) -> bool:
        """Whether the host may have to read its lists again: other rules, or another set of hidden tools, since the
        last look."""
        try:
            policy = self._current()
            shown = (self._version, *sorted(self._hidden(policy)))
        except Failure as failure:
            shown = (failure.message,)
        before, self._shown = self._shown, shown
        return before not in ((), shown)

    def notice(self) -> str:
        """What people should know about the lists: the tools that are missing, and why. Empty where none is."""
        try:
            hidden = sorted(self._hidden(self._files.current()))
        except Failure:
            return ""
        return _missing(self.upstream, hidden) if hidden else ""

    # -- tools that changed -----------------------------------------------------------------------

    def _hidden(self, policy: "Policy | None") -> Collection[str]:
        """The tools whose change nobody has accepted."""
        if policy is not None and policy.changes != "ask":
            return ()
        changed = self._pins.changed
        if not changed:
            return ()
        accepted = policy.accepted if policy is not None else frozenset[str]()
        return [name for name, digest in changed.items() if digest not in accepted]

    def _observe(self, policy: "Policy | None", result: bytes) -> None:
        """Compares the tools with what they said when they were first seen."""
        changes = policy.changes if policy is not None else "ask"
        if changes == "ignore" or result == self._observed:
            return
        news = self._pins.observe(lists.definitions(result))
        for name in news:
            pin = self._pins.current()[name]
            self.tell("tool.changed", {"upstream": self.upstream, "tool": name, "change": change_of(pin, changes)})
        if changes == "report":
            self._pins.accept(news)
        self._observed = result

    def _current(self) -> "Policy | None":
        """The rules as they stand; a change of them is told to the trail."""
        policy = self._files.current()
        before, self._version = self._version, policy.version if policy is not None else ""
        if before not in (None, self._version):
            changed = {"version": self._version, "before": before}
            self.tell("policy.changed", {"upstream": self.upstream, "policy": changed})
        return policy

    def _facts(self, policy: "Policy", about: CallRecord, body: bytes) -> "Facts":
        from acp_stdio.policy.rules import UNKNOWN, Facts

        arguments = _arguments(body) if policy.reads_arguments else UNKNOWN
        agent = self._agent(about.agent, about.agent_version)
        return Facts(self.upstream, about.method, about.tool, arguments, self._claims, agent, clock)

    def _agent(self, name: str, version: str) -> "Agent":
        from acp_stdio.policy.rules import Agent

        actors = acting(self._claims or {})
        return Agent(name, version, self._executable(), actors[0] if actors else "")

    def _counted(self, decision: "Decision", person: str) -> "tuple[Decision, Callable[[], None]]":
        from acp_stdio.policy.decide import Decision
        from acp_stdio.runtime.rates import Rates

        rates = self._rates = self._rates or Rates(self._state_dir)
        now = time.time()
        full: Limit | None = rates.take(decision.limits, person, now)
        if full is not None:
            return Decision(False, full.rule.id, full.rule.message or _too_often(full)), _nothing
        return decision, lambda: rates.give_back(decision.limits, person, now)


def change_of(pin: Pin, then: str) -> dict[str, Any]:
    """A tool's change for the trail; `then`: what it leads to, a word of `tool_changes`."""
    after = digest(pin.changed) if pin.changed is not None else ""
    return {"from": digest(pin.accepted), "to": after, "parts": differing(pin), "then": then}


def _missing(upstream: str, hidden: Sequence[str]) -> str:
    names = ", ".join(visible(name) for name in hidden[:5]) + (", …" if len(hidden) > 5 else "")
    return (
        f"{upstream} has changed what it says of {names}: hidden until the person accepts it. "
        f"Ask them to run `acp-stdio tools diff` and then `acp-stdio tools accept`."
    )


def _not_accepted(upstream: str, tool: str) -> Failure:
    return Failure(
        "denied",
        f"{upstream} has changed what it says of its tool {visible(tool)}, and nobody has accepted that yet.",
        "Look at it with `acp-stdio tools diff`, then run `acp-stdio tools accept`.",
    )


def _nothing() -> None:
    """There is nothing to undo."""


def _too_often(limit: "Limit") -> str:
    from acp_stdio.settings.durations import spell

    return f"It may be called {limit.rate.calls} times in {spell(limit.rate.seconds)}. Try again later."


def _denied(upstream: str, about: CallRecord, message: str) -> Failure:
    what = f"{about.tool} of {upstream}" if about.tool else f"{about.method} of {upstream}"
    why = message or f"`acp-stdio policy why {upstream} {about.tool or about.method}` says which rule it is."
    return Failure("denied", f"The rules on this computer do not allow {what}.", why)


def _arguments(body: bytes) -> Any:
    """The arguments as they are sent, numbers as they are written; `UNKNOWN` if there is no saying what they are."""
    from decimal import Decimal

    from acp_stdio.policy.rules import UNKNOWN

    try:
        params: Any = json.loads(body, parse_float=Decimal).get("params") or {}
        found: Any = params.get("arguments")
    except (ValueError, AttributeError, RecursionError):  # ValueError: a number of thousands of digits
        return UNKNOWN
    return {} if found is None else found


def clock(zone: str) -> tuple[int, int]:
    """See `policy.rules.Clock`."""
    if not zone:
        local = time.localtime()
        return local.tm_wday, local.tm_hour * 60 + local.tm_min
    from datetime import datetime
    from zoneinfo import ZoneInfo

    there = datetime.now(ZoneInfo(zone))
    return there.weekday(), there.hour * 60 + there.minute
