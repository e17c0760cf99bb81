"""A sign-in at a provider that knows nothing of DPoP: `auto` does without, `require` gives back what was issued."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acp_stdio.login.each import Outcome, sign_in
from acp_stdio.login.flow import Choices
from acp_stdio.settings import managed
from acp_stdio.settings.load import load
from acp_stdio.settings.model import Dpop
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.refresh import obtain_token
from tests.kit import human, leaks
from tests.kit.scripted_idp import ScriptedIdp
from tests.kit.signing_in import Machine, bare_upstream


@pytest.fixture
def idp() -> Iterator[ScriptedIdp]:
    with ScriptedIdp() as idp:
        yield idp
        leaks.remember(*idp.issued)


SignIn = Callable[[Dpop], tuple[Outcome, str]]


@pytest.fixture
def enter(tmp_path: Path, idp: ScriptedIdp, monkeypatch: pytest.MonkeyPatch) -> Iterator[SignIn]:
    """Alice signs in; gives the outcome and the `dpop_jkt` that her browser brought to the provider."""
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    with bare_upstream() as upstream:

        def enter(dpop: Dpop) -> tuple[Outcome, str]:
            def opens(url: str) -> bool:
                human.sign_in(url, "alice")
                return True

            machine = Machine(tmp_path / "home", idp.issuer, upstream, identity=f'dpop = "{dpop}"')
            (outcome,) = sign_in(load(environ=machine.environment), Choices(opener=opens), lambda _: None)
            return outcome, next(form for name, form in idp.requests if name == "/authorize").get("dpop_jkt", "")

        yield enter


def test_auto_does_without_where_the_provider_does_not_say_that_it_can(idp: ScriptedIdp, enter: SignIn) -> None:
    outcome, thumbprint = enter("auto")
    session = outcome.result()
    assert (session.jkt, session.token_type, thumbprint) == ("", "Bearer", "")
    context = open_context(outcome.settings, may_prompt=False)
    assert obtain_token(context, outcome.settings.upstreams["finance"]).proof_key is None


def test_what_is_required_is_tried_and_a_bearer_answer_is_given_back(idp: ScriptedIdp, enter: SignIn) -> None:
    outcome, thumbprint = enter("require")
    assert outcome.failure is not None
    assert outcome.failure.reason == "configuration_invalid"
    assert "issues bearer tokens" in outcome.failure.message
    assert len(thumbprint) == 43, "the code was to be bound to the key as well (RFC 9449 section 10)"
    assert [form["token_type_hint"] for name, form in idp.requests if name == "/revoke"] == [
        "refresh_token",
        "access_token",
    ]
    assert open_context(outcome.settings, may_prompt=False).vault.load() is None
