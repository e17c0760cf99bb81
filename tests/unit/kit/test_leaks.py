"""The scanner finds what it is there to find; otherwise every test that relies on it proves nothing."""

import base64
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.kit.leaks import scan

HEADER = base64.urlsafe_b64encode(b'{"alg":"RS256","typ":"at+jwt","kid":"2026-11"}').rstrip(b"=").decode()
BODY = base64.urlsafe_b64encode(b'{"sub":"sarah","aud":"https://finance.example.com/mcp"}').rstrip(b"=").decode()


def jwt() -> str:
    return f"{HEADER}.{BODY}.{secrets.token_urlsafe(256)}"


TOKENS = {"jwt": jwt(), "opaque": secrets.token_urlsafe(32), "code": secrets.token_urlsafe(12)}


def percent(text: str) -> str:
    return "".join(f"%{ord(letter):02x}" for letter in text)


DISGUISES: dict[str, Callable[[str], str]] = {
    "none": lambda token: token,
    "json": lambda token: f'{{"access_token":"{token}"}}',
    "quoted": lambda token: quote(token, safe=""),
    "percent": percent,
    "base64": lambda token: base64.b64encode(token.encode()).decode(),
    "base64url, shifted by one": lambda token: base64.urlsafe_b64encode(f"a{token}".encode()).decode().rstrip("="),
    "basic": lambda token: base64.b64encode(f"Basic client:{token}bc".encode()).decode(),
    "base64 inside a word": lambda token: f"xyz{base64.b64encode(f'ab{token} and more'.encode()).decode()}",
    "base64, quoted": lambda token: quote(base64.b64encode(f"some more text: {token}".encode()), safe=""),
    "hex": lambda token: token.encode().hex(),
    "backwards": lambda token: token[::-1],
    "utf-16": lambda token: token.encode("utf-16-le").decode("latin-1"),
    "base64 in lines": lambda token: base64.encodebytes(token.encode() * 2).decode(),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_a_planted_token_is_found_in_every_disguise(disguise: Callable[[str], str], token: str) -> None:
    found = scan([token], texts=[f"before {disguise(token)} after"])
    assert found
    assert token not in "".join(found)


@pytest.mark.parametrize("start", [0, 1, 7, 11, 12, 13, 100])
def test_any_piece_of_a_tokens_body_or_signature_is_found(start: int) -> None:
    token = TOKENS["jwt"]
    secret_part = token.partition(".")[2]
    assert scan([token], texts=[f"...{secret_part[start : start + 24]}..."])


def test_a_tokens_public_header_is_no_finding() -> None:
    assert scan([TOKENS["jwt"]], texts=[HEADER, f"{HEADER}."]) == []


def test_a_token_is_found_in_files_and_in_their_names(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "clean.log").write_text("nothing to see")
    assert scan(TOKENS.values(), tmp_path) == []
    (tmp_path / "logs" / "run.log").write_bytes(b"\xff\x00" + TOKENS["opaque"].encode())
    (tmp_path / TOKENS["code"]).touch()
    found = scan(TOKENS.values(), tmp_path)
    assert any("run.log: secret 1, plain" in line for line in found)
    assert any(line.startswith("the name of ") for line in found)
    assert not scan(TOKENS.values(), texts=found), "the report itself says no token"


def test_other_tokens_of_the_same_issuer_are_no_finding() -> None:
    others = [f"{HEADER}.{secrets.token_urlsafe(300)}" for _ in range(20)]
    assert scan([TOKENS["jwt"]], texts=others) == []


def test_a_secret_too_short_to_be_told_from_text_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        scan(["abc"], texts=["abc"])
