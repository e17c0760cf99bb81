"""What the upstreams asked of the next sign-in, in this process: the challenges of calls that they refused."""

from collections.abc import Mapping
from dataclasses import replace

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Session
from acp_stdio.identity.step_up import StepUp


class Demands:
    """One for each process. A demand is about the sign-in with which the call was refused, and goes with that."""

    def __init__(self) -> None:
        self._wanted: dict[str, tuple[int, StepUp]] = {}

    def note(self, upstream: str, step_up: StepUp, session: Session | None) -> None:
        """`upstream` refused a call of `session` and wants this."""
        if session is not None and session.signed_in:
            generation, before = self._wanted.get(upstream, (session.generation, StepUp()))
            self._wanted[upstream] = (
                session.generation,
                before | step_up if generation == session.generation else step_up,
            )

    def not_renewed(self, upstream: str, failure: Failure, session: Session | None) -> None:
        """No token could be had by `session`. Where only a person can help, the next sign-in is one made anew:
        `session` alone does not tell that it is too old, from another computer or gone from the keyring."""
        if failure.reason == "login_required":
            self.note(upstream, StepUp(anew=True), session)

    def worked(self, upstream: str) -> None:
        """`upstream` took a token: whatever made it refuse one as such is over."""
        if upstream in self._wanted:
            generation, step_up = self._wanted.pop(upstream)
            if rest := replace(step_up, anew=False):
                self._wanted[upstream] = (generation, rest)

    def of(self, sessions: Mapping[str, Session | None]) -> dict[str, StepUp]:
        """What is wanted beside what the present `sessions` have, by upstream."""
        return {
            upstream: step_up
            for upstream, (generation, step_up) in self._wanted.items()
            if step_up and (session := sessions.get(upstream)) is not None and session.generation == generation
        }
