"""Somebody at a machine whose configuration names one provider and one upstream."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from acp_stdio.identity.model import AccessToken, Account
from acp_stdio.login.each import sign_in
from acp_stdio.login.flow import Choices
from acp_stdio.settings.load import load
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.refresh import obtain_token
from tests.kit import human, leaks
from tests.kit.scripted_idp import ScriptedIdp
from tests.kit.signing_in import Machine

Start = Callable[..., "Person"]
"""From a scripted provider and a preset to somebody who has not signed in yet; `identity` and `lines` are further lines
of the identity's and the upstream's tables, in the latter `UPSTREAM` stands for its address."""


@dataclass
class Person:
    """Signs in with the browser unless `sign_in` is told otherwise."""

    machine: Machine
    idp: ScriptedIdp
    told: list[str] = field(default_factory=list[str])
    """What the sign-ins said."""

    @property
    def settings(self) -> Any:
        return load(environ=self.machine.environment)

    def sign_in(self, **choices: Any) -> Account:
        (outcome,) = sign_in(self.settings, Choices(opener=self._opens, **choices), self._hears, self._hears)
        account = outcome.result().account
        assert account is not None
        return account

    def token(self) -> AccessToken:
        """By the refresh path, as for a call."""
        settings = self.settings
        return obtain_token(open_context(settings, may_prompt=False), settings.upstreams["finance"])

    def asked(self, path: str) -> list[dict[str, str]]:
        return [form for name, form in self.idp.requests if name == path]

    def configure(self, *lines: str) -> None:
        """Adds lines to the identity's table."""
        self.machine.identity = "\n".join([self.machine.identity, *lines])
        self.machine.configure()

    def _opens(self, url: str) -> bool:
        human.sign_in(url, "alice")
        return True

    def _hears(self, text: str) -> None:
        leaks.remember(*self.idp.issued)
        assert not any(token in text for token in self.idp.issued)
        self.told.append(text)
