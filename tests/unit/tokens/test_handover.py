"""What `acp_login` and its `login` say to each other comes across whole, or as a failure."""

from dataclasses import replace

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken, Held
from acp_stdio.secrets import Secret
from acp_stdio.tokens.handover import (
    Done,
    LoginRequest,
    decode_login,
    decode_login_answer,
    encode_login,
    encode_login_answer,
    not_completed,
)
from acp_stdio.tokens.messages import (
    Request,
    Revocation,
    decode_revocation,
    decode_revoked,
    encode_request,
    encode_revocation,
    encode_revoked,
)
from tests.unit.tokens.world import SESSION

TOKEN = AccessToken(Secret("at-secret"), "finance", "https://x:443", 0, 1.0, 2.0, "Bearer", {"scope": "a"})


@pytest.mark.parametrize("config", [None, "/etc/company.toml"])
def test_a_request_comes_across(config: str | None) -> None:
    request = LoginRequest(config, "work", ("finance", "https://x/mcp"))
    assert decode_login(encode_login(request)) == request


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"null", b'{"config": null}'])
def test_what_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"request|JSON|Expecting"):
        decode_login(line)


def test_each_answer_comes_across() -> None:
    held = Held(replace(SESSION, generation=0, scopes=("a", "b")), {"finance": TOKEN})
    assert decode_login_answer(encode_login_answer(held)) == held
    for done in (Done(), Done("Not quite what was asked for.")):
        assert decode_login_answer(encode_login_answer(done)) == done
    told = decode_login_answer(encode_login_answer(Failure("denied", "No.", "Ask.")))
    assert isinstance(told, Failure)
    assert (told.reason, told.message, told.advice) == ("denied", "No.", "Ask.")


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"null", b'{"held": {"tokens": {"x": {"value": "at-secret"}}}}', b'{"failure": {}}', b"[1"]
)
def test_a_broken_answer_is_a_failure_that_quotes_nothing(line: bytes) -> None:
    told = decode_login_answer(line)
    assert isinstance(told, Failure)
    assert told.message == not_completed().message


def test_a_revocation_comes_across_and_is_told_from_a_request() -> None:
    wanted = Revocation(
        None, "default", ("finance",), "finance", "https://idp.example.com", "acp-stdio", Secret("at-secret"), True
    )
    assert decode_revocation(encode_revocation(wanted)) == wanted
    assert decode_revocation(encode_request(Request(None, "default", (), "finance"))) is None
    for line in (b"", b"null", b'{"held": {"token": "at-secret"}}'):
        with pytest.raises(ValueError, match="not a request") as caught:
            decode_revocation(line)
        assert "at-secret" not in str(caught.value)


def test_what_became_of_a_token_is_failed_unless_it_says_better() -> None:
    assert decode_revoked(encode_revoked("revoked")) == "revoked"
    assert decode_revoked(encode_revoked("unsupported")) == "unsupported"
    assert [decode_revoked(line) for line in (encode_revoked("failed"), b"", b"{}")] == ["failed"] * 3
