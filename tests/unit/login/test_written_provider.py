"""A sign-in at a provider that publishes nothing, or elsewhere, by what the configuration says; and clocks."""

import time
from typing import Any

import pytest

from acp_stdio.errors import Failure
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.logout import sign_out
from tests.kit.person import Person, Start
from tests.kit.scripted_idp import ScriptedIdp


def written(idp: ScriptedIdp) -> str:
    names = {"authorization": "authorize", "token": "token", "jwks": "keys", "device_authorization": "devicecode"}
    pairs = ", ".join(f'{name} = "{idp.origin}/{path}"' for name, path in (names | {"revocation": "revoke"}).items())
    return f"endpoints = {{ {pairs} }}\nallow_unadvertised_pkce = true"


@pytest.mark.parametrize("flow", ["browser", "device"])
def test_a_provider_without_metadata_serves_from_sign_in_to_logout(start: Start, flow: Any) -> None:
    with ScriptedIdp(metadata_paths=()) as idp:
        person = start(idp, "generic", identity=written(idp))
        assert person.sign_in(flow=flow).label == "alice@example.com"
        assert person.token().claims["aud"] == person.machine.upstream
        report = sign_out(open_context(person.settings, may_prompt=False))
        assert (report.revocation, report.deleted) == ("revoked", True)
        assert len(person.asked("/revoke")) >= 1


def test_a_provider_whose_metadata_is_elsewhere_serves_from_sign_in_to_token(start: Start) -> None:
    with ScriptedIdp(metadata_paths=("/sso/config",)) as idp:
        person = start(idp, "generic", identity=f'discovery_url = "{idp.origin}/sso/config"')
        assert person.sign_in().issuer == idp.issuer
        assert person.token().upstream == "finance"


def test_the_sign_in_page_is_told_what_only_this_provider_has_a_word_for(start: Start) -> None:
    with ScriptedIdp() as idp:
        person = start(idp, "generic", identity='authorize_params = { organization = "org 1&x=y" }')
        person.sign_in()
        (asked,) = person.asked("/authorize")
        assert asked["organization"] == "org 1&x=y"
        assert "x" not in asked
        assert not any("organization" in form for form in person.asked("/token"))


# --- clocks


def refusal(person: Person, act: str) -> Failure:
    with pytest.raises(Failure) as caught:
        getattr(person, act)()
    return caught.value


def test_a_smaller_clock_skew_counts_for_the_id_token_and_for_the_access_token(start: Start) -> None:
    """A provider whose clock is half a minute ahead: its tokens are valid only in half a minute."""
    with ScriptedIdp(clock_offset=30) as idp:
        person = start(idp, "generic", identity='clock_skew = "5s"')
        assert "ID token was not used" in refusal(person, "sign_in").message
        idp.clock_offset = 0
        person.sign_in()
        idp.clock_offset = 30
        said = refusal(person, "token")
        assert (said.reason, "access token was not used" in said.message) == ("wrong_audience", True)
        assert "by this computer's clock" in said.message
        assert "date and time" in said.advice
        person.machine.identity = 'clock_skew = "60s"'
        person.machine.configure()
        assert person.token().upstream == "finance"


@pytest.mark.parametrize(("skew", "good"), [("60s", True), ("0s", False)])
def test_the_clock_skew_counts_for_how_long_ago_somebody_signed_in_there(start: Start, skew: str, good: bool) -> None:
    class Remembering(ScriptedIdp):
        def id_claims(self, user: str) -> dict[str, Any]:
            return {**super().id_claims(user), "auth_time": int(time.time()) - 630}

    with Remembering() as idp:
        person = start(idp, "generic", identity=f'max_session_age = "10m"\nclock_skew = "{skew}"')
        if good:
            assert person.sign_in().label == "alice@example.com"
        else:
            assert refusal(person, "sign_in").reason == "denied"
