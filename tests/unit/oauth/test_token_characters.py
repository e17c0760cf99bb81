"""A token that would break out of its header is not a token."""

import json

import pytest

from acp_stdio.oauth.endpoint import TokenError, parse_token_response
from acp_stdio.oauth.http import Answer


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "é", "a=b", "\x00"])
def test_a_token_that_no_header_can_carry_is_refused_without_being_shown(token: str) -> None:
    body = json.dumps({"access_token": token, "token_type": "Bearer"}).encode()
    with pytest.raises(TokenError) as caught:
        parse_token_response(Answer(200, {}, body))
    assert caught.value.kind == "misconfigured"
    assert token not in str(caught.value)


@pytest.mark.parametrize("token", ["eyJ.a-_.b", "ya29.a0+/~==", "x"])
def test_every_token_of_rfc_6750_is_taken(token: str) -> None:
    body = json.dumps({"access_token": token, "token_type": "bearer"}).encode()
    assert parse_token_response(Answer(200, {}, body)).access_token.reveal() == token
