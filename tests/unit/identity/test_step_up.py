"""A refusal that a further sign-in may help is read as its standard says, and said in words that can be copied."""

import base64

import pytest

from acp_stdio.identity.step_up import NOTHING_MORE, StepUp, claims_in, demanded
from acp_stdio.wire.challenge import parameters

CLAIMS = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'
ENTRA = base64.b64encode(CLAIMS.encode()).decode()


@pytest.mark.parametrize(
    ("status", "header", "wanted"),
    [
        (403, 'Bearer error="insufficient_scope", scope="a:b a:c a:b"', StepUp(scopes=("a:b", "a:c"))),
        (403, 'Bearer error="insufficient_scope"', StepUp()),
        (403, 'Bearer error="insufficient_scope", scope="fine caf\u00e9 \x01"', StepUp(scopes=("fine",))),
        (403, 'Bearer error="other", scope="a"', None),
        (403, "", None),
        (
            401,
            'Bearer error="insufficient_user_authentication", acr_values="phr phrh", max_age="300"',
            StepUp(acr_values=("phr", "phrh"), max_age=300),
        ),
        (401, 'DPoP error="insufficient_user_authentication", max_age=0', StepUp(max_age=0)),
        (401, 'Bearer error="insufficient_user_authentication", max_age="-1"', StepUp()),
        (401, f'Bearer realm="", error="insufficient_claims", claims="{ENTRA}"', StepUp(claims=CLAIMS)),
        (401, 'Bearer error="insufficient_claims", claims="bm90IGpzb24="', StepUp(anew=True)),
        (401, 'DPoP error="invalid_dpop_proof", algs="ES256"', None),
        (401, 'DPoP error="use_dpop_nonce"', None),
        (401, 'DPoP error="invalid_token"', StepUp(anew=True)),
        (401, 'Bearer error="invalid_token"', StepUp(anew=True)),
        (401, "", StepUp(anew=True)),
        (500, 'Bearer error="insufficient_scope"', None),
        (None, "", None),
    ],
)
def test_a_challenge_says_what_the_next_sign_in_should_ask_for(
    status: int | None, header: str, wanted: StepUp | None
) -> None:
    assert demanded(status, parameters(header)) == wanted


def test_scopes_are_united_in_the_order_in_which_they_came() -> None:
    assert (StepUp(("a", "b")) | StepUp(("b", "c"))).scopes == ("a", "b", "c")


def test_of_two_ages_the_stricter_counts_and_of_other_things_the_later() -> None:
    first, later = StepUp(acr_values=("low",), max_age=60), StepUp(acr_values=("high",), max_age=600, claims=CLAIMS)
    assert first | later == StepUp(acr_values=("high",), max_age=60, claims=CLAIMS)
    assert later | StepUp(anew=True) == StepUp(acr_values=("high",), max_age=600, claims=CLAIMS, anew=True)
    assert (StepUp(max_age=0) | StepUp()).max_age == 0


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (CLAIMS, "", CLAIMS),
        (
            '{"access_token":{"xms_cc":{"values":["cp1"]}}}',
            CLAIMS,
            '{"access_token":{"xms_cc":{"values":["cp1"]},"acrs":{"essential":true,"value":"c1"}}}',
        ),
        (
            '{"access_token":{"xms_cc":{"values":["cp1"]}},"id_token":{"a":null}}',
            '{"access_token":{"xms_cc":{"values":["cp2","cp1"]}}}',
            '{"access_token":{"xms_cc":{"values":["cp1","cp2"]}},"id_token":{"a":null}}',
        ),
        (
            CLAIMS,
            '{"access_token":{"acrs":{"value":"c2"},"nbf":{"essential":true,"value":"1604106651"}}}',
            '{"access_token":{"acrs":{"essential":true,"value":"c2"},"nbf":{"essential":true,"value":"1604106651"}}}',
        ),
        ('{"access_token":{"a":null}}', '{"access_token":null}', '{"access_token":null}'),
    ],
)
def test_claims_are_united_into_one_object(first: str, second: str, both: str) -> None:
    assert (StepUp(claims=first) | StepUp(claims=second)).claims == both


def test_a_server_that_asks_for_something_else_each_time_does_not_make_it_grow() -> None:
    wanted = NOTHING_MORE
    for number in range(200):
        claims = f'{{"access_token":{{"claim-{number}":{{"value":"{"v" * 100}"}}}}}}'
        wanted |= StepUp(scopes=(f"scope-{number}",), claims=claims)
    assert len(wanted.scopes) == 50
    assert len(wanted.claims) <= 8192
    assert wanted.scopes[-1] == "scope-199"
    assert "claim-199" in wanted.claims


def test_claims_that_are_nested_without_end_are_not_followed_there() -> None:
    deep = '{"a":' * 900 + "1" + "}" * 900
    assert (StepUp(claims=deep) | StepUp(claims=deep)).claims == deep


def test_an_ordinary_sign_in_asks_for_nothing_more() -> None:
    assert not NOTHING_MORE
    assert all((StepUp(scopes=("a",)), StepUp(max_age=0), StepUp(claims="{}"), StepUp(anew=True)))
    assert NOTHING_MORE.parameters == {}
    assert StepUp(("a",), ("x", "y"), 0, "{}").parameters == {"acr_values": "x y", "max_age": "0", "claims": "{}"}


def test_the_same_can_be_typed() -> None:
    wanted = StepUp(("api://x/Read.All", "b"), ("urn:mace:silver",), 300, CLAIMS)
    words = wanted.options.split()
    assert words[:8] == [
        *("--add-scope", "api://x/Read.All", "--add-scope", "b"),
        *("--acr", "urn:mace:silver", "--max-age", "300"),
    ]
    assert claims_in(words[9]) == CLAIMS


@pytest.mark.parametrize("word", ["$(rm)", "a;b", "`x`", "a|b", "--force", "a'b", "a&b", "a>b"])
def test_a_word_of_a_server_that_a_shell_could_act_on_is_in_no_command_line(word: str) -> None:
    assert StepUp(("fine", word)).options == ""
    assert StepUp(acr_values=(word,)).options == ""


def test_it_comes_across_a_pipe() -> None:
    for wanted in (NOTHING_MORE, StepUp(("a",), ("b",), 0, CLAIMS, anew=True)):
        assert StepUp.from_json(wanted.to_json()) == wanted


@pytest.mark.parametrize(
    "text", ["", "!", base64.b64encode(b"[1]").decode(), "e" * 9000, base64.b64encode(b"\xff").decode()]
)
def test_claims_that_are_no_object_are_none(text: str) -> None:
    assert claims_in(text) == ""


def test_claims_that_are_nested_deeper_than_any_are_none_for_they_would_end_whoever_unites_them() -> None:
    for depth in range(1, 1500):
        nested = f'{{"a":{"[" * depth}{"]" * depth}}}'
        assert bool(claims_in(base64.b64encode(nested.encode()).decode())) == (depth < 16)


def test_claims_are_read_in_either_alphabet_with_or_without_padding() -> None:
    odd = '{"a":"\u00fb\u00ff?>"}'
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert claims_in(encode(odd.encode()).decode().rstrip("=")) == '{"a":"\\u00fb\\u00ff?>"}'
