"""What the browser brings back is believed only as far as RFC 6749 and RFC 9207 allow."""

import pytest

from acp_stdio.errors import Failure
from acp_stdio.login.answer import read_code

ISSUER = "https://idp.example.com"


def _read(*parameters: tuple[str, str], promised: bool = False) -> str:
    return read_code(parameters, state="s", issuer=ISSUER, iss_promised=promised).reveal()


@pytest.mark.parametrize("promised", [True, False])
def test_the_right_issuer_passes(promised: bool) -> None:
    assert _read(("state", "s"), ("iss", ISSUER), ("code", "c"), promised=promised) == "c"


def test_no_issuer_passes_where_none_was_promised() -> None:
    assert _read(("state", "s"), ("code", "c")) == "c"


@pytest.mark.parametrize(
    "iss",
    ["https://evil.example", ISSUER + "/", ISSUER.upper(), ISSUER + ":443", "", "https://idp.example.com%2F"],
)
@pytest.mark.parametrize("promised", [True, False])
def test_another_issuer_is_refused_without_any_normalisation(iss: str, promised: bool) -> None:
    with pytest.raises(Failure, match="another identity provider"):
        _read(("state", "s"), ("iss", iss), ("code", "c"), promised=promised)


def test_a_promised_issuer_that_is_missing_is_refused() -> None:
    with pytest.raises(Failure, match="promises to name itself"):
        _read(("state", "s"), ("code", "c"), promised=True)


@pytest.mark.parametrize("name", ["iss", "state", "code"])
def test_a_repeated_parameter_is_refused(name: str) -> None:
    values = {"state": "s", "iss": ISSUER, "code": "c"}
    with pytest.raises(Failure, match="twice"):
        _read(*values.items(), (name, values[name]))


def test_a_foreign_error_is_not_shown() -> None:
    with pytest.raises(Failure) as caught:
        _read(("state", "s"), ("iss", "https://evil.example"), ("error", "x"), ("error_description", "call 555"))
    assert "555" not in caught.value.message


def test_an_error_is_shown_without_what_could_drive_a_terminal() -> None:
    with pytest.raises(Failure) as caught:
        _read(
            ("state", "s"),
            ("error", "access_denied"),
            ("error_description", "no\x1b[2J\nway \u202e!" + "x" * 900),
        )
    assert caught.value.reason == "denied"
    assert "refused or cancelled" in caught.value.message
    assert "\x1b" not in caught.value.message
    assert "\n" not in caught.value.message
    assert "\u202e" not in caught.value.message
    assert len(caught.value.message) < 400


def test_the_providers_own_trouble_is_not_called_a_refusal() -> None:
    with pytest.raises(Failure) as caught:
        _read(("state", "s"), ("error", "temporarily_unavailable"))
    assert caught.value.reason == "idp_unreachable"


@pytest.mark.parametrize("extra", [(), (("code", ""),)])
def test_an_answer_with_nothing_in_it_is_refused(extra: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(Failure, match="neither"):
        _read(("state", "s"), *extra)


def test_another_state_is_refused() -> None:
    with pytest.raises(Failure, match="another sign-in"):
        _read(("state", "t"), ("code", "c"))
