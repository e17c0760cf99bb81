"""What was asked for and what was granted, compared."""

import pytest

from acp_stdio.identity.model import Session
from acp_stdio.identity.scopes import covered_scopes, granted_scopes, narrower, wider

APP = "api://finance"
GOOGLE = "https://www.googleapis.com/auth/userinfo.email"


def session(asked: str, scopes: str, *resources: str) -> Session:
    named = {f"server-{n}": resource for n, resource in enumerate(resources)}
    return Session(
        1, signed_in=True, account=None, asked=tuple(asked.split()), scopes=tuple(scopes.split()), resources=named
    )


@pytest.mark.parametrize("said", [None, "", " "])
def test_an_answer_that_says_nothing_means_exactly_what_was_asked_for(said: str | None) -> None:
    assert granted_scopes(said, ("openid", "read")) == ("openid", "read")


def test_what_the_answer_says_is_taken_as_it_is() -> None:
    assert granted_scopes("read  admin read", ("openid", "read", "write")) == ("read", "admin")


@pytest.mark.parametrize(
    ("asked", "scopes", "more", "less"),
    [
        ("openid read", "openid read", "", ""),
        ("openid read", "read openid", "", ""),
        ("openid read", "openid read admin", "admin", ""),
        ("openid read write", "openid read", "", "write"),
        ("openid read write", "read admin", "admin", "write"),
        ("openid offline_access email read", "read", "", ""),
        ("openid read", "openid Read", "Read", "read"),  # RFC 6749 section 3.3: case matters
        ("openid", "openid email", "email", ""),
        ("openid email", f"openid {GOOGLE}", "", ""),
        ("openid", f"openid {GOOGLE}", GOOGLE, ""),
        (f"{APP}/.default", f"{APP}/read {APP}/write", "", ""),
        (f"{APP}/.default", f"{APP}/read api://payroll/read", "api://payroll/read", ""),
        (f"{APP}/.default", "api://finance-archive/read", "api://finance-archive/read", ""),
        ("", "openid read", "", ""),  # an earlier version's session
    ],
)
def test_each_difference_is_named_once(asked: str, scopes: str, more: str, less: str) -> None:
    one = session(asked, scopes, "https://finance.example.com")
    assert (" ".join(wider(one)), " ".join(narrower(one))) == (more, less)


def test_one_servers_token_does_not_tell_what_anothers_will_have() -> None:
    two = session("openid finance.read hr.read", "finance.read admin", "https://finance", "https://hr")
    assert (wider(two), narrower(two)) == (("admin",), ())
    assert "hr.read" in covered_scopes(two)


def test_a_sign_in_is_for_what_it_got_and_for_what_it_asked_and_was_not_denied() -> None:
    one = session("openid read write", "read admin", "https://finance")
    assert covered_scopes(one) == ("read", "admin", "openid")
