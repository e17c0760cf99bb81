"""The log's line: one a request, and nobody else can write in it."""

from typing import Any

import pytest

from acp_stdio.backend import Caller
from acp_stdio.backend.caller import agent_of, word

SARAH = Caller("u-1001", "sarah@acme.example").asking(
    {"user-agent": "acp-stdio/0.1.0 (claude-ai/0.1.0)", "x-request-id": "r-7"}, "salary"
)


def test_a_line_names_person_agent_tool_request_and_outcome() -> None:
    assert SARAH.line("ok") == (
        "user=sarah@acme.example sub=u-1001 agent=claude-ai/0.1.0 tool=salary request=r-7 outcome=ok"
    )


def test_what_is_not_known_is_a_dash() -> None:
    assert Caller("", "").line("denied") == "user=- sub=- agent=- tool=- request=- outcome=denied"


@pytest.mark.parametrize("field", ["user", "label", "agent", "tool", "request_id"])
@pytest.mark.parametrize(
    "evil", ["a\nb", "a\r\nb", "x outcome=ok user=ceo", "a\u2028b", "a\x1b[2Jb", "a=b", "ä\x85", "\ud83d"]
)
def test_no_value_can_end_its_line_or_add_a_field(field: str, evil: str) -> None:
    values = {"user": "u", "label": "l", "agent": "a", "tool": "t", "request_id": "r"}
    changed: dict[str, Any] = values | {field: evil}
    line = Caller(**changed).line("ok")
    assert line.splitlines() == [line]
    assert line.isascii()
    names = [part.partition("=")[0] for part in line.split(" ")]
    assert names == ["user", "sub", "agent", "tool", "request", "outcome"]
    assert line.count("=") == 6


def test_a_value_without_end_is_cut() -> None:
    assert len(word("x" * 100_000)) == 200


def test_claims_are_not_in_what_is_printed_of_a_caller() -> None:
    assert "secret-claim" not in repr(Caller("u", "l", claims={"salary": "secret-claim"}))


@pytest.mark.parametrize(
    ("user_agent", "client_info", "agent"),
    [
        ("acp-stdio/0.1.0 (claude-ai/0.1.0)", ("other", "9"), "claude-ai/0.1.0"),
        ("acp-stdio/0.1.0", ("claude-ai", "0.1.0"), "claude-ai/0.1.0"),
        ("python-httpx2/2.16.2", ("claude-ai", "0.1.0"), "claude-ai/0.1.0"),
        ("curl/8.1 something", None, "curl/8.1"),
        ("", None, ""),
    ],
)
def test_the_agent_is_the_program_that_the_person_uses(
    user_agent: str, client_info: tuple[str, str] | None, agent: str
) -> None:
    assert agent_of(user_agent, client_info) == agent
