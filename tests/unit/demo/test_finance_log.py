"""The finance server's log: one line a call that nobody else can write in."""

from datetime import UTC, datetime

import pytest

from acp_stdio.demo.finance_log import Entry, agent_of, word

MOMENT = datetime(2026, 11, 23, 9, 30, 1, 250_000, tzinfo=UTC)


def entry(**changes: str) -> Entry:
    fields = {
        "user": "sarah@acme.example",
        "sub": "u-1001",
        "agent": "claude-ai/0.1.0",
        "tool": "salary",
        "request": "r-7",
        "outcome": "ok",
    }
    return Entry(time=MOMENT, **(fields | changes))


def test_a_line_names_person_agent_tool_request_and_outcome() -> None:
    assert entry().line() == (
        "2026-11-23T09:30:01.250Z user=sarah@acme.example sub=u-1001 agent=claude-ai/0.1.0"
        " tool=salary request=r-7 outcome=ok"
    )


def test_what_is_not_known_is_a_dash() -> None:
    assert "agent=- " in entry(agent="").line()


@pytest.mark.parametrize("field", ["user", "sub", "agent", "tool", "request", "outcome"])
@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "x outcome=ok user=ceo", "a\u2028b", "a\x1b[2Jb", "a=b", "ä\x85"])
def test_no_value_can_end_its_line_or_add_a_field(field: str, evil: str) -> None:
    line = entry(**{field: evil}).line()
    assert line.splitlines() == [line]
    assert line.isascii()
    assert [part.partition("=")[0] for part in line.split(" ")[1:]] == [
        "user",
        "sub",
        "agent",
        "tool",
        "request",
        "outcome",
    ]
    assert line.count("=") == 6


def test_a_value_without_end_is_cut() -> None:
    assert len(word("x" * 100_000)) == 200


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
