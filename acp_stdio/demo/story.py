"""The story: one key for everybody, then everybody's own token; a leaver, and a logout.

Each step is told and checked. A step whose promise does not hold raises `StepFailed` with its name, and the
demo's exit code says so.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from acp_stdio.demo import trail
from acp_stdio.demo.agent import AGENT_NAME, AGENT_VERSION, Agent, Answer
from acp_stdio.demo.parts import Parts
from acp_stdio.demo.people import INTERN, SARAH, SERVICE_ACCOUNT, Person
from acp_stdio.demo.processes import Child, ChildError
from acp_stdio.demo.stage import RECHECK_SECONDS, Desk
from acp_stdio.demo.voice import Voice

LINE_SECONDS: Final = 5.0
LEAVER_SECONDS: Final = RECHECK_SECONDS + 7.0
LOGOUT_SECONDS: Final = 3.0
"""How long the demo waits for a refusal before it says that there was none."""
AGENT: Final = f"agent={AGENT_NAME}/{AGENT_VERSION}"


class StepFailed(Exception):
    """A promise of the story did not hold."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step
        self.why = why


@dataclass(slots=True)
class Backend:
    """A finance server and the log it wrote so far."""

    child: Child
    facts: dict[str, Any]
    log: list[str] = field(default_factory=list[str])

    def next_line(self) -> str:
        self.log.append(self.child.line(LINE_SECONDS))
        return self.log[-1]

    def rest(self) -> list[str]:
        """Lines that nobody expected."""
        found = self.child.lines_so_far()
        self.log.extend(found)
        return found


@dataclass(slots=True)
class Outcome:
    """What `--json` prints."""

    steps: list[str] = field(default_factory=list[str])
    seconds_until_refused: dict[str, float] = field(default_factory=dict[str, float])
    log_with_api_key: list[str] = field(default_factory=list[str])
    log_with_acp_stdio: list[str] = field(default_factory=list[str])


class Story:
    """Told once; `with` ends every process it started."""

    def __init__(self, parts: Parts, voice: Voice) -> None:
        self.outcome = Outcome()
        self._parts = parts
        self._voice = voice
        self._end = ExitStack()
        self._desks = {p.account: Desk(p, parts.folder / p.account) for p in (SARAH, INTERN)}
        self._agents: dict[str, Agent] = {}
        self._idp: dict[str, Any] = {}
        self._keyed_agent: Child
        self._keyed: Backend
        self._personal: Backend
        self._step = ""

    def __enter__(self) -> "Story":
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def tell(self) -> Outcome:
        """All steps in order. Raises `StepFailed`."""
        for step in (
            self.curtain,
            self.one_key_for_everybody,
            self.everybody_signs_in,
            self.the_log_names_the_person,
            self.both_backends_are_checked,
            self.a_rule_counts_at_once,
            self.the_leaver_is_out,
            self.logout_ends_it,
            self.the_trail_agrees,
            self.a_forged_line_is_found,
        ):
            self._step = step.__name__
            try:
                step()
            except BrokenPipeError:
                raise  # whoever read the story went away
            except (ChildError, OSError, ValueError, KeyError) as error:
                raise StepFailed(self._step, str(error)) from error
            self.outcome.steps.append(self._step)
        return self.outcome

    def evidence(self) -> str:
        """The end of what acp-stdio wrote into its logs on the two desks, for when a step failed."""
        logs = sorted(file for desk in self._desks.values() for file in (desk.folder / "log").rglob("*.log"))
        return "\n".join(f"{file}:\n{file.read_text(encoding='utf-8')[-2000:]}" for file in logs)

    def _check(self, truth: bool, otherwise: str) -> None:
        if not truth:
            raise StepFailed(self._step, otherwise)

    def _keep(self, child: Child) -> Child:
        self._end.callback(child.close)
        return child

    # The steps

    def curtain(self) -> None:
        self._voice.title("acp-stdio demo: real processes, real HTTP, real tokens, all on this computer")
        idp, keyed = self._keep(self._parts.idp()), self._keep(self._parts.finance_with_key())
        self._keyed_agent = self._keep(self._parts.agent_with_key())
        self._idp = idp.facts()
        personal = self._keep(self._parts.finance_with_tokens(self._idp["issuer"]))
        self._keyed = Backend(keyed, keyed.facts())
        self._personal = Backend(personal, personal.facts())

    def one_key_for_everybody(self) -> None:
        self._voice.chapter(1, "The usual way: one API key in everybody's configuration")
        agent, facts = self._keyed_agent, self._keyed.facts
        report = self._parts.ask_with_key(agent, facts, "quarterly_report", quarter="Q3")
        self._told("sarah asks for the Q3 report", report)
        salary = self._parts.ask_with_key(agent, facts, "salary", person="ceo")
        self._told("intern asks for the CEO's pay", salary)
        lines = [self._keyed.next_line(), self._keyed.next_line()]
        self._show_log(lines)
        everybody = f"user={SERVICE_ACCOUNT} "
        self._check(all(everybody in line for line in lines), "the log should know nothing but the service account")
        self._check(not salary.refused, "with the shared key the intern should have got an answer")
        self.outcome.log_with_api_key = lines
        self._voice.pity("Two people, one name. Nobody can tell who read the CEO's pay.")

    def everybody_signs_in(self) -> None:
        self._voice.chapter(2, "acp-stdio login: once for each person, with the company's IdP")
        self._voice.say(
            "A program plays the human here: it types the password into the IdP's page, in place of a"
            " browser. Each person has a folder of their own with an encrypted store."
        )
        for desk in self._desks.values():
            desk.furnish(self._idp["issuer"], self._personal.facts["url"])
        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(self._parts.login, self._desks.values()))
        for desk, result in zip(self._desks.values(), said, strict=True):
            person = desk.person
            page = desk.page_seen.read_text(encoding="utf-8") if desk.page_seen.exists() else ""
            self._voice.quote(f"{person.account}'s terminal", result)
            self._voice.quote(f"{person.account}'s browser", page)
            self._check(person.email in page, f"the browser should say that {person.email} is signed in")
            live = self._parts.live_sign_ins(self._idp, person.account)
            self._check(live == 1, f"the IdP should know one sign-in of {person.account}, not {live}")
        self._voice.good("Both signed in.")

    def the_log_names_the_person(self) -> None:
        self._voice.chapter(3, "acp-stdio run: the same questions, each with the person's own token")
        for desk in self._desks.values():
            agent = self._parts.agent(desk)
            self._end.callback(agent.close)
            self._agents[desk.person.account] = agent
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Agent.start, self._agents.values()))
        report = self._agents["sarah"].call("quarterly_report", quarter="Q3")
        sarahs_line = self._personal.next_line()
        salary = self._agents["intern"].call("salary", person="ceo")
        interns_line = self._personal.next_line()
        self._told("sarah asks for the Q3 report", report)
        self._told("intern asks for the CEO's pay", salary)
        self._show_log([sarahs_line, interns_line])
        self._named(sarahs_line, SARAH, "quarterly_report", "ok")
        self._named(interns_line, INTERN, "salary", "denied")
        self._check(not report.refused and "profit" in report.text, "sarah should have got the report")
        self._check(
            salary.refused and not salary.reason and INTERN.email in salary.text,
            "the backend itself should have refused the intern",
        )
        self._voice.good("The log names the person, the agent and the tool; the backend decides.")

    def both_backends_are_checked(self) -> None:
        self._voice.chapter(4, "acp-stdio check-backend: does this server know who is asking?")
        with ThreadPoolExecutor(2) as pool:
            old = pool.submit(self._parts.check_backend_with_key, self._idp["issuer"], self._keyed.facts)
            new = pool.submit(self._parts.check_backend, self._desks["sarah"], self._parts.log_with_tokens)
            reports = (old.result(), new.result())
        for backend in (self._keyed, self._personal):
            backend.child.line(LINE_SECONDS)  # the check's own call
        for name, report in zip(("with the key", "with tokens"), reports, strict=True):
            states = [each["state"] for each in report["findings"]]
            told = ", ".join(f"{states.count(state)} {state}" for state in ("pass", "fail", "not tested"))
            self._voice.quote(f"the server {name}", told)
            failed = [f"{each['name']}: {each['said']}" for each in report["findings"] if each["state"] == "fail"]
            self._voice.log(failed)
        found = [{each["name"]: each["state"] for each in report["findings"]} for report in reports]
        self._check(
            found[0].get("the shared API key") == "fail", "the check should have failed the server with the key"
        )
        self._check(bool(reports[1]["ok"]), f"the server with tokens should pass: {reports[1]['next']}")
        self._check(found[1].get("the log names you") == "pass", "the check should have found sarah in the log")
        self._voice.good("Forged and foreign tokens are refused where tokens count, and the log names the person.")

    def a_rule_counts_at_once(self) -> None:
        self._voice.chapter(5, "[policy]: the company forbids agents the tool salary; nothing is restarted")
        agent = self._agents["sarah"]
        allowed = agent.call("salary", person="ceo")
        self._named(self._personal.next_line(), SARAH, "salary", "ok")
        self._desks["sarah"].forbid("salary")
        refused = agent.call("salary", person="ceo")
        self._told("sarah's agent, before", allowed)
        self._told("sarah's agent, after", refused)
        self._check(refused.reason == "denied", f"the rule should refuse it, not {refused.reason!r}: {refused.text}")
        other = agent.call("quarterly_report", quarter="Q2")
        self._check(not other.refused, "what no rule forbids should go on")
        self._named(self._personal.next_line(), SARAH, "quarterly_report", "ok")
        self._voice.good("Refused on this computer: the backend heard nothing of it, and the trail has it.")

    def the_leaver_is_out(self) -> None:
        self._voice.chapter(6, "sarah leaves: her account is disabled at the IdP, and nothing else is done")
        agent = self._agents["sarah"]
        refused = self._served_until(lambda: self._parts.disable(self._idp, "sarah"), "sarah", LEAVER_SECONDS)
        self._voice.quote("sarah's running agent", refused.text)
        self._check(refused.reason == "login_required", f"the refusal should be login_required, not {refused.reason!r}")
        self._check(agent.call("quarterly_report", quarter="Q2").refused, "sarah should stay out")
        control = self._agents["intern"].call("quarterly_report", quarter="Q3")
        self._check(not control.reason, "only sarah left; the intern's calls should still reach the backend")
        line = self._personal.next_line()
        self._check(f"user={INTERN.email} " in line, f"a call of sarah's got through: {line}")
        seconds = self.outcome.seconds_until_refused["sarah"]
        self._voice.good(
            f"Out after {seconds:.1f} s, with her agent still running and nobody near her computer"
            f" (recheck_identity is {RECHECK_SECONDS} s here; by default 15 min)."
        )

    def logout_ends_it(self) -> None:
        self._voice.chapter(7, "acp-stdio logout: intern signs out while the agent runs")
        said = ""

        def logout() -> None:
            nonlocal said
            said = self._parts.logout(self._desks["intern"])

        refused = self._served_until(logout, "intern", LOGOUT_SECONDS)
        self._voice.quote("intern's terminal", said)
        self._voice.quote("intern's running agent", refused.text)
        self._check(refused.reason == "login_required", f"the reason should be login_required, not {refused.reason!r}")
        live = self._parts.live_sign_ins(self._idp, "intern")
        self._check(live == 0, "the sign-in should be revoked at the IdP")
        self._check(not self._personal.rest(), "after the logout nothing should reach the backend")
        seconds = self.outcome.seconds_until_refused["intern"]
        self._check(seconds <= 1.0, f"the running agent should be out within a second, not {seconds:.1f} s")
        self._voice.good(f"Refused {seconds:.1f} s after the command had ended; revoked at the IdP.")

    def the_trail_agrees(self) -> None:
        self._voice.chapter(8, "The audit trail on each computer")
        arrived = {_field(line, "request"): line for line in self._personal.log}
        for desk in self._desks.values():
            calls = trail.calls(desk.state)
            sent = [call for call in calls if call.intent and call.outcome != "denied"]
            refused = [call for call in calls if call.outcome == "denied"]
            self._voice.log([call.line() for call in (*sent[:1], *refused[:1])])
            mine = {request for request, line in arrived.items() if f"user={desk.person.email} " in line}
            self._check(bool(sent), f"{desk.person.account}'s trail should hold the calls")
            self._check(
                {call.intent for call in sent} == mine,
                f"{desk.person.account}'s trail and the backend's log should name the same requests",
            )
            self._check(
                all(call.outcome and call.user == desk.person.email for call in sent),
                "every record should name the person and an outcome",
            )
            self._check(bool(refused), f"{desk.person.account}'s refused calls should be in the trail")
        self.outcome.log_with_acp_stdio = self._personal.log
        self._voice.good(f"All {len(arrived)} calls in the backend's log are in a trail, by request id.")

    def a_forged_line_is_found(self) -> None:
        self._voice.chapter(9, "acp-stdio audit verify: sarah's trail, before and after one word is changed")
        desk = self._desks["sarah"]
        before = self._parts.verify(desk)
        self._check(bool(before["whole"]), f"the trail should be whole: {before['findings']}")
        self._voice.quote("before", f"{before['records']} records, whole; signed {before['checkpoints']} times")
        trail.forge(desk.state, "salary", "weather")
        after = self._parts.verify(desk)
        self._check(bool(after["findings"]), "audit verify should have found the forged line")
        self._voice.quote("after", "; ".join(str(each["why"]) for each in after["findings"][:2]))
        self._voice.good("Found, with the first record that is not as it was written.")

    # What steps share

    def _served_until(self, change: Callable[[], None], account: str, patience: float) -> Answer:
        """Calls through the running agent until it is refused; each call before that is a line in the log."""
        agent, person = self._agents[account], self._desks[account].person
        before = agent.call("quarterly_report", quarter="Q1")
        self._check(not before.reason, f"{account} should still be served before: {before.text}")
        self._personal.next_line()
        change()
        started = time.monotonic()
        while time.monotonic() - started < patience:
            answer = agent.call("quarterly_report", quarter="Q1")
            if answer.reason:
                self.outcome.seconds_until_refused[account] = round(time.monotonic() - started, 2)
                return answer
            self._check(f"user={person.email} " in self._personal.next_line(), "the log should name the caller")
            time.sleep(0.1)
        raise StepFailed(self._step, f"{account}'s agent was still served after {patience:.0f} s")

    def _named(self, line: str, person: Person, tool: str, outcome: str) -> None:
        for part in (f"user={person.email}", f"sub={person.sub}", AGENT, f"tool={tool}", f"outcome={outcome}"):
            self._check(part in line.split(), f"the backend's log should say {part}: {line}")

    def _told(self, who: str, answer: Answer) -> None:
        self._voice.quote(who, answer.text)

    def _show_log(self, lines: list[str]) -> None:
        self._voice.say("The backend's log:")
        self._voice.log(lines)


def _field(line: str, name: str) -> str:
    return next((word.partition("=")[2] for word in line.split() if word.startswith(f"{name}=")), "")
