"""The doctor says before anybody signs in that a provider does not offer what `dpop` asks for."""

from dataclasses import replace

import pytest

from acp_stdio.doctor.provider import discovery
from acp_stdio.settings.model import Dpop
from tests.kit.scripted_idp import ScriptedIdp
from tests.unit.doctor.conftest import MakeCase


@pytest.mark.parametrize("dpop", ["auto", "require"])
def test_a_provider_that_does_not_say_that_it_binds_tokens(make_case: MakeCase, dpop: Dpop) -> None:
    with ScriptedIdp() as idp:
        case = make_case(issuer=idp.issuer)
        identity = replace(case.settings.identity, dpop=dpop)
        found = discovery(replace(case, settings=replace(case.settings, identity=identity)))
        assert found.state == "warning"
        assert "does not say that it binds tokens to a key with ES256" in found.message
        assert f'(dpop = "{dpop}")' in found.message
        assert "binds tokens" not in discovery(case).message, "nobody asked for it"
