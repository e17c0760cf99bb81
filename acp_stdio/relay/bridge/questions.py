"""A modern server's questions to a legacy host: each a request of ours, their answers back with the call repeated.

MCP 2026-07-28, basic/patterns/mrtr; up to 2025-11-25 a server asks on its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from msgspec import Raw

from acp_stdio.errors import Failure
from acp_stdio.relay.bridge import capabilities
from acp_stdio.relay.bridge.base import MAX_QUESTIONS, Asked, Bridge, notification
from acp_stdio.relay.commands import Command, ToHost
from acp_stdio.wire import frames, methods
from acp_stdio.wire.frames import Frame
from acp_stdio.wire.members import encoded, joined, members, text

MAX_ROUNDS: Final = 10
"""How often one request may be answered with questions; the MCP SDK's clients stop there too."""
PAUSES: Final = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a request is repeated with nothing new to say, by how often in a row; the last one from then on."""

Answers = dict[str, Raw]
Go = Callable[[Answers, float], list[Command]]
"""What is to be done once every question has its answer."""
Abandon = Callable[[Asked, float], list[Command]]
"""Ends whatever goes on for a request that the host is to wait for no longer."""

_ACCEPTED: Final = encoded({"action": "accept"})
_CANCELLED: Final = encoded({"action": "cancel"})


@dataclass(slots=True, eq=False)
class Round:
    """The questions of one answer, as far as they are answered."""

    asked: Asked
    go: Go
    answers: Answers = field(default_factory=dict[str, Raw])
    open: int = 0
    """How many the host has not answered."""
    over: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """One of them, at the host."""

    round: Round
    key: str
    method: str
    url: str
    page: str
    """The id by which the host knows the page that the person is to open (MCP 2025-11-25, `elicitationId`)."""


@dataclass(slots=True)
class _Course:
    """How a request has fared so far."""

    pages: dict[str, str] = field(default_factory=dict[str, str])
    """Those that the person agreed to open: address to id."""
    repeats: int = 0
    """How often in a row it was repeated with nothing new."""


class Questions:
    """Asks the host; one round for each request at a time."""

    def __init__(self, bridge: Bridge, upstream: str, patience: float, abandon: Abandon) -> None:
        """`patience`: seconds that the host has for a round, and a page that is to be opened."""
        self._bridge = bridge
        self._abandon = abandon
        self._upstream = upstream
        self._patience = patience
        self._questions: dict[bytes, Question] = {}
        self._last = 0
        self._courses: dict[Asked, _Course] = {}

    def ask(self, asked: Asked, requests: Raw | None, version: str, now: float, go: Go) -> list[Command]:
        """Puts the questions to the host; `go` gets the answers, at once where nothing has to be asked."""
        round, course = Round(asked, go), self._courses.setdefault(asked, _Course())
        asking: list[tuple[Question, Raw | None]] = []
        questions = members(requests)
        if len(questions) > MAX_QUESTIONS:
            return self._fail(asked, f"asked {len(questions)} questions at once", now)
        for key, raw in questions.items():
            question = members(raw)
            method, params = text(question.get("method")), question.get("params")
            if not capabilities.allows(asked.capabilities, method, params):
                what = f"asked for {method or 'something'}, which this application does not offer"
                return self._fail(asked, what, now)
            url = text(members(params).get("url")) if method == methods.ELICIT else ""
            if url in course.pages:  # the page is open: the person is not asked twice, and the server looks again
                round.answers[key] = _ACCEPTED
            else:
                asking.append((Question(round, key, method, url, self._bridge.mint() if url else ""), params))
        if not asking:
            return self._again(round, course, now)
        course.repeats = 0
        asked.rounds += 1
        if asked.rounds > MAX_ROUNDS:
            return self._fail(asked, f"asked more than {MAX_ROUNDS} times", now)
        told: list[Command] = [self._question(question, params, version) for question, params in asking]
        return [*told, *self._bridge.later(self._patience, now, lambda later: self._too_late(round, later))]

    def _question(self, question: Question, params: Raw | None, version: str) -> ToHost:
        self._last += 1
        question.round.open += 1
        raw_id = b'"acp-stdio-question-%d"' % self._last
        self._questions[raw_id] = question
        given = members(params)
        if question.page:
            given["elicitationId"] = encoded(question.page)
        if version < capabilities.FORM_AND_URL:
            given.pop("mode", None)
        head = b'{"jsonrpc":"2.0","id":%b,"method":%b' % (raw_id, bytes(encoded(question.method)))
        return ToHost(head + (b"}" if params is None else b',"params":%b}' % joined(given)))

    def answered(self, frame: Frame, now: float) -> list[Command]:
        """The host answered a request. Errors have no place among the answers that a modern server takes."""
        question = self._questions.pop(frames.id_key(frame.id or b"null"), None)
        if question is None:
            return []
        round = question.round
        round.open -= 1
        if frame.result is not None:
            round.answers[question.key] = frame.result
            if question.url and text(members(frame.result).get("action")) == "accept":
                self._courses[round.asked].pages[question.url] = question.page
        elif question.method == methods.ELICIT:
            round.answers[question.key] = _CANCELLED
        else:
            why = text(members(frame.error).get("message"))
            what = f"asked for {question.method}, and this application refused it{f': {why}' if why else ''}"
            return self._fail(round.asked, what, now)
        if round.open:
            return []
        round.over = True
        return round.go(round.answers, now)

    def _again(self, round: Round, course: _Course, now: float) -> list[Command]:
        """Nothing new to say: the server sheds load, or waits for a page. It is asked again, later and later."""
        pause = PAUSES[min(course.repeats, len(PAUSES) - 1)]
        course.repeats += 1
        if now + pause - round.asked.since > self._patience:
            return self._too_late(round, now)
        if not pause:
            return round.go(round.answers, now)
        return self._bridge.later(
            pause, now, lambda later: round.go(round.answers, later) if round.asked in self._courses else []
        )

    def _too_late(self, round: Round, now: float) -> list[Command]:
        if round.over or round.asked not in self._courses:
            return []
        why = Failure(
            "timeout",
            f"What {self._upstream} asked for did not come within {self._patience:.0f} s.",
            "Ask again.",
        )
        return [*self._abandon(round.asked, now), *self._bridge.fail(round.asked, why)]

    def _fail(self, asked: Asked, what: str, now: float) -> list[Command]:
        why = Failure("denied", f"{self._upstream} {what}.", "Use an application that does.")
        return [*self._abandon(asked, now), *self._bridge.fail(asked, why)]

    def finished(self, asked: Asked) -> list[Command]:
        """The request has its answer: so the pages of it are done with."""
        course = self._courses.pop(asked, None)
        pages = course.pages.values() if course is not None else ()
        return [notification(methods.ELICITED, {"elicitationId": encoded(page)}) for page in pages if page]

    def forget(self, asked: Asked) -> list[Command]:
        """Nobody waits for the request any more; the host need not go on asking for its sake."""
        self._courses.pop(asked, None)
        told: list[Command] = []
        for raw_id in [raw_id for raw_id, question in self._questions.items() if question.round.asked is asked]:
            self._questions.pop(raw_id).round.over = True
            told.append(notification(methods.CANCELLED, {"requestId": Raw(raw_id)}))
        return told
