"""What a server wants of a sign-in that the present one does not have, as it says when it refuses a call."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
_SAFE: Final = re.compile(r"[A-Za-z0-9:/._~+@-]+")
"""Words of a server that may stand in a command line which a person copies."""
_MOST_WORDS: Final = 50
_LONGEST_CLAIMS: Final = 8192
_DEEPEST_CLAIMS: Final = 16
"""Levels of JSON; what is known has four. As many as a parser takes would be too many for the next one."""
_LONGEST_AGE: Final = 10**9


@dataclass(frozen=True, slots=True)
class StepUp:
    """What the next sign-in asks for beside what every one does. False where that is nothing."""

    scopes: tuple[str, ...] = ()
    acr_values: tuple[str, ...] = ()
    """Authentication context classes (OpenID Connect Core section 3.1.2.1), most wanted first."""
    max_age: int | None = None
    """Seconds since the person last proved who they are, at most."""
    claims: str = ""
    """A JSON object (OpenID Connect Core section 5.5), as Entra's Conditional Access sends it."""
    anew: bool = False
    """The server refused a fresh token: perhaps it takes those of another issuer by now."""

    def __bool__(self) -> bool:
        return self != StepUp()

    def __or__(self, later: "StepUp") -> "StepUp":
        """Both: scopes are united, since a sign-in with fewer would take rights away (MCP 2026-07-28,
        scope challenge handling), and so are claims; of ages the smaller counts, of classes those asked for last.
        A server that asks for something else each time does not make it grow: what it asked for last stays."""
        ages = [age for age in (self.max_age, later.max_age) if age is not None]
        claims = united(self.claims, later.claims)
        return StepUp(
            scopes=tuple(dict.fromkeys((*self.scopes, *later.scopes)))[-_MOST_WORDS:],
            acr_values=later.acr_values or self.acr_values,
            max_age=min(ages, default=None),
            claims=claims if len(claims) <= _LONGEST_CLAIMS else later.claims or self.claims,
            anew=self.anew or later.anew,
        )

    @property
    def stronger(self) -> bool:
        """Whether it is about how the person proves who they are, rather than about rights."""
        return bool(self.acr_values or self.max_age is not None or self.claims)

    @property
    def parameters(self) -> dict[str, str]:
        """What the authorization request adds, beside scopes."""
        found = {
            "acr_values": " ".join(self.acr_values),
            "max_age": "" if self.max_age is None else str(self.max_age),
            "claims": self.claims,
        }
        return {name: value for name, value in found.items() if value}

    @property
    def options(self) -> str:
        """The same for `acp-stdio login`; empty where it cannot be said in words that are safe to copy."""
        words = (*self.scopes, *self.acr_values)
        if not all(_SAFE.fullmatch(word) and not word.startswith("-") for word in words):
            return ""
        said = [f"--add-scope {scope}" for scope in self.scopes]
        said += [f"--acr {value}" for value in self.acr_values]
        said += [] if self.max_age is None else [f"--max-age {self.max_age}"]
        said += [f"--claims {base64.urlsafe_b64encode(self.claims.encode()).decode()}"] if self.claims else []
        return " ".join(said)

    def to_json(self) -> dict[str, Any]:
        return {
            "scopes": list(self.scopes),
            "acr_values": list(self.acr_values),
            "max_age": self.max_age,
            "claims": self.claims,
            "anew": self.anew,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "StepUp":
        """Raises `KeyError` or `TypeError`."""
        return cls(
            tuple(data["scopes"]), tuple(data["acr_values"]), data["max_age"], data["claims"], data["anew"] is True
        )


PROOF_ERRORS: Final = ("invalid_dpop_proof", "use_dpop_nonce")
"""About the proof that went along (RFC 9449 sections 7.1 and 9), which another sign-in makes no better."""

NOTHING_MORE: Final = StepUp()
"""An ordinary sign-in."""


def demanded(status: int | None, challenge: Mapping[str, str]) -> StepUp | None:
    """What an answer with this status and challenge (`wire.challenge.parameters`) asks for.

    None: it is not about the sign-in. A 401 without more in it is: `anew`; one about a proof is not.
    """
    error = challenge.get("error", "")
    if status == 403 and error == "insufficient_scope":  # RFC 6750 section 3.1
        return StepUp(scopes=scopes_in(challenge.get("scope", "")))
    if status != 401:
        return None
    if error == "insufficient_user_authentication":  # RFC 9470 section 3
        acr_values = scopes_in(challenge.get("acr_values", ""))
        return StepUp(acr_values=acr_values, max_age=_age(challenge.get("max_age", "")))
    if error in PROOF_ERRORS:
        return None
    if error == "insufficient_claims" and (claims := claims_in(challenge.get("claims", ""))):
        return StepUp(claims=claims)  # Microsoft identity platform, claims challenge
    return StepUp(anew=True)


def united(first: str, second: str) -> str:
    """Two `claims` parameters (OpenID Connect Core section 5.5) as one; either may be empty."""
    if not first or not second:
        return first or second
    return json.dumps(_both(json.loads(first), json.loads(second)), separators=(",", ":"))


def _both(first: Any, second: Any, depth: int = 3) -> Any:
    """Of objects the members of both, of lists the elements of both, of other values the second. `depth` reaches
    what a claim asks for: `access_token`, the claim's name, `values`."""
    if isinstance(first, dict) and isinstance(second, dict) and depth:
        one, other = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
        return one | {
            name: _both(one[name], value, depth - 1) if name in one else value for name, value in other.items()
        }
    if isinstance(first, list) and isinstance(second, list):
        return [*cast("list[Any]", first), *(each for each in cast("list[Any]", second) if each not in first)]
    return cast("Any", second)


def scopes_in(text: str) -> tuple[str, ...]:
    """The words of a list that are scopes by RFC 6749's grammar, each once."""
    return tuple(dict.fromkeys(_words(text.split())))


def _words(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if _SCOPE.fullmatch(text)][:_MOST_WORDS]


def _age(text: str) -> int | None:
    return min(int(text), _LONGEST_AGE) if text.isascii() and text.isdigit() and len(text) < 20 else None


def claims_in(text: str) -> str:
    """The JSON object in base64, with or without padding and in either alphabet; empty where there is none."""
    if not text or len(text) > _LONGEST_CLAIMS:
        return ""
    try:
        raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
        data: object = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        return ""
    if not isinstance(data, dict) or _deeper(cast("object", data), _DEEPEST_CLAIMS):
        return ""
    return json.dumps(data, separators=(",", ":"))


def _deeper(data: object, levels: int) -> bool:
    if not isinstance(data, dict | list):
        return False
    inside = cast("Iterable[object]", data.values() if isinstance(data, dict) else data)
    return levels == 0 or any(_deeper(each, levels - 1) for each in inside)
