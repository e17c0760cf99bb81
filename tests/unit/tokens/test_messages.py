"""The lines between `run` and its token helper."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import acp_stdio
from acp_stdio.errors import Failure
from acp_stdio.identity.grant import decode_grant, encode_grant
from acp_stdio.identity.model import AccessToken, Grant
from acp_stdio.secrets import Secret
from acp_stdio.tokens.messages import (
    Request,
    Sent,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    fingerprint,
    no_answer,
)

TOKEN = AccessToken(
    Secret("very-secret"),
    "finance",
    "https://x:8443",
    3,
    1000.5,
    1300.5,
    "Bearer",
    {"aud": ["a"], "jti": "j"},
)
BOUND = replace(TOKEN, token_type="DPoP", proof_key=Secret('{"d": "key-secret"}'), signing_key=Secret("another"))
GRANT = Grant(Secret("rt-secret"), "https://idp", "acp-stdio", "sub-1", 12.5, 3, 7)


@pytest.mark.parametrize("rejected", [None, "0123456789abcdef"])
def test_a_request_arrives_as_it_was_asked(rejected: str | None) -> None:
    request = Request("/etc/x.toml", "work", ("finance", "https://b/mcp"), "finance", rejected)
    line = encode_request(request)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line) == request


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"7", b'"x"', b"\xff"])
def test_what_is_no_request_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own subclasses are meant, too
        decode_request(line)


def test_answers_arrive_as_they_were_given() -> None:
    assert decode_answer(encode_answer(TOKEN)) == TOKEN
    assert decode_answer(encode_answer(BOUND)) == BOUND
    assert "key-secret" not in repr(BOUND)
    assert decode_answer(encode_answer(Sent())) == Sent()
    failure = decode_answer(encode_answer(Failure("login_required", "You are\nsigned out.", "Do.")))
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.message, failure.advice) == (
        "login_required",
        "You are\nsigned out.",
        "Do.",
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        encode_answer(TOKEN)[:-9],
        b'{"token":5}',
        b'{"token":{"value":"very-secret"}}',
        b'{"failure":{"reason":"invented","message":"very-secret","advice":""}}',
    ],
)
def test_a_broken_answer_is_a_failure_that_shows_nothing_of_it(line: bytes) -> None:
    answer = decode_answer(line)
    assert isinstance(answer, Failure)
    assert answer.message == no_answer().message
    assert "very-secret" not in answer.message + answer.advice


def test_a_fingerprint_names_a_token_without_giving_it_away() -> None:
    assert fingerprint(Secret("a")) == fingerprint(Secret("a")) != fingerprint(Secret("b"))
    assert len(fingerprint(Secret("a"))) == 16


@pytest.mark.parametrize("key", [None, Secret('{"kty": "EC", "d": "key-secret"}')])
def test_a_grant_survives_the_vault(key: Secret | None) -> None:
    grant = replace(GRANT, proof_key=key)
    record = encode_grant(grant)
    assert decode_grant(record) == grant
    assert "-secret" not in repr(record) + repr(grant)


def test_a_grant_from_before_keys_were_kept_has_none() -> None:
    record = json.loads(encode_grant(GRANT).reveal())
    del record["dpop_key"]
    assert decode_grant(Secret(json.dumps(record))) == GRANT


@pytest.mark.parametrize("record", ["", "rt-secret", '{"v":2,"rt":"rt-secret"}', '{"v":1,"rt":"rt-secret"}', "[]"])
def test_a_damaged_grant_is_refused_without_quoting_it(record: str) -> None:
    with pytest.raises(ValueError, match=r"^the stored sign-in") as caught:
        decode_grant(Secret(record))
    assert "rt-secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_run_can_read_these_without_the_heavy_libraries() -> None:
    heavy = ("httpx2", "keyring", "jwt", "hashlib", "asyncio", "ssl", "subprocess")
    code = (
        f"import sys; sys.path.insert(0, {str(Path(acp_stdio.__file__).parents[1])!r})\n"
        "import acp_stdio.tokens.messages, acp_stdio.tokens.session_file, acp_stdio.tokens.freshness\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
