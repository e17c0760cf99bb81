"""Promises of the administrator's layer."""

import os
import sys
from pathlib import Path

import pytest

from acp_stdio.errors import Failure
from acp_stdio.settings import managed
from acp_stdio.settings.load import EXAMPLE, load

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX owners and permissions")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the managed file is looked for; the person who runs the tests stands in for the administrator."""
    place = tmp_path / "etc" / "config.toml"
    place.parent.mkdir(mode=0o755)
    monkeypatch.setattr(managed, "PLACE", place)
    monkeypatch.setattr(managed, "ADMINISTRATOR", os.getuid())
    return place


def manage(place: Path, text: str, mode: int = 0o644) -> None:
    place.write_text(text, encoding="utf-8")
    place.chmod(mode)


def user(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(text, encoding="utf-8")
    return {"ACP_STDIO_HOME": str(tmp_path)}


def test_the_place_does_not_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = managed.PLACE
    for name in ("XDG_CONFIG_DIRS", "XDG_CONFIG_HOME", "HOME", "ACP_STDIO_HOME", "PROGRAMDATA"):
        monkeypatch.setenv(name, "/elsewhere")
    assert managed._place() == before  # pyright: ignore[reportPrivateUsage] - the constant's origin
    assert before.is_absolute()


def test_what_is_managed_wins_key_by_key_and_the_rest_stays_the_users(tmp_path: Path, place: Path) -> None:
    manage(place, '[identity]\nissuer = "https://company.example"\n[upstreams.finance]\nscopes = ["a"]\n')
    found = load(environ=user(tmp_path, EXAMPLE))
    assert found.identity.issuer == "https://company.example"
    assert found.identity.client_id == "acp-stdio"
    assert found.upstreams["finance"].scopes == ("a",)
    assert found.upstreams["finance"].url == "https://finance.example.com/mcp"
    assert found.identity.origins["issuer"] == f"managed file {place}"
    assert found.identity.origins["client_id"].startswith("file ")


@pytest.mark.parametrize(
    "line", ["discovery_url = 'https://a.example/m'", "endpoints = { token = 'https://a.example/t' }",
             "allow_unadvertised_pkce = true"],
)  # fmt: skip
def test_how_a_managed_issuer_is_reached_is_not_the_users_to_say(tmp_path: Path, place: Path, line: str) -> None:
    """Else a user's file would lead the company's sign-ins to another server under the company's name."""
    environ = user(tmp_path, EXAMPLE.replace("[identity]", f"[identity]\n{line}"))
    assert load(environ=environ).identity.issuer, "the user's own issuer is the user's"
    manage(place, '[identity]\nissuer = "https://company.example"\n')
    with pytest.raises(Failure, match=f"identity.{line.partition(' ')[0]} is the administrator's to say"):
        load(environ=environ)
    manage(place, f'[identity]\nissuer = "https://company.example"\n{line}\n')
    assert load(environ=environ).identity.origins[line.partition(" ")[0]] == f"managed file {place}"


def test_naming_another_user_file_does_not_escape_the_managed_one(tmp_path: Path, place: Path) -> None:
    manage(place, '[identity]\nissuer = "https://company.example"\n')
    other = tmp_path / "other.toml"
    other.write_text(EXAMPLE, encoding="utf-8")
    found = load(config=other, environ={"ACP_STDIO_HOME": str(tmp_path), "ACP_STDIO_CONFIG": str(other)})
    assert found.identity.issuer == "https://company.example"


def test_the_managed_file_alone_is_enough(tmp_path: Path, place: Path) -> None:
    manage(place, EXAMPLE)
    found = load(environ={"ACP_STDIO_HOME": str(tmp_path)})
    assert list(found.upstreams) == ["finance"]
    assert found.config_file is None


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_managed_file_that_others_may_write_stops_everything(tmp_path: Path, place: Path, mode: int) -> None:
    manage(place, EXAMPLE, mode)
    with pytest.raises(Failure, match=r"cannot be trusted: .*may be written by others") as caught:
        load(environ=user(tmp_path, EXAMPLE))
    assert caught.value.reason == "configuration_invalid"


def test_a_managed_file_in_a_directory_that_others_may_write_stops_everything(tmp_path: Path, place: Path) -> None:
    manage(place, EXAMPLE)
    place.parent.chmod(0o777)
    with pytest.raises(Failure, match=r"cannot be trusted: .*etc may be written by others"):
        load(environ=user(tmp_path, EXAMPLE))


def test_a_managed_file_of_somebody_else_stops_everything(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manage(place, EXAMPLE)
    monkeypatch.setattr(managed, "ADMINISTRATOR", os.getuid() + 1)
    with pytest.raises(Failure, match="and not to the administrator"):
        load(environ=user(tmp_path, EXAMPLE))


def test_a_managed_file_that_cannot_be_read_stops_everything(tmp_path: Path, place: Path) -> None:
    place.mkdir()
    with pytest.raises(Failure, match="cannot be trusted"):
        load(environ=user(tmp_path, EXAMPLE))


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_managed_file_that_is_empty_stops_everything(tmp_path: Path, place: Path, text: str) -> None:
    """An editor that writes in place empties it first; whoever wants no rules says so."""
    manage(place, text)
    with pytest.raises(Failure, match=r"is empty. To have no rules, remove it or leave `version = 1` in it"):
        load(environ=user(tmp_path, EXAMPLE))
    manage(place, "version = 1\n")
    assert load(environ={"ACP_STDIO_HOME": str(tmp_path)}).policy is None


@pytest.mark.parametrize(("age", "flux"), [(0.0, True), (0.99, True), (1.0, False), (60.0, False), (-5.0, False)])
def test_a_managed_file_counts_as_saved_a_second_after_its_last_change(place: Path, age: float, flux: bool) -> None:
    at = 1_700_000_000.0
    assert not managed.in_flux(place.parent / "none" / "config.toml", at, known=True), "its directory went long ago"
    os.utime(place.parent, (at, at))
    assert managed.in_flux(place, at + age, known=True) is flux, "taken away"
    assert not managed.in_flux(place, at + age, known=False), "it was never there"
    manage(place, EXAMPLE)
    os.utime(place, (at, at))
    assert managed.in_flux(place, at + age, known=False) is flux


def test_a_mistake_in_the_managed_file_is_told_with_its_line(tmp_path: Path, place: Path) -> None:
    manage(place, "[identity]\nisuer = 'https://company.example'\n")
    with pytest.raises(Failure) as caught:
        load(environ=user(tmp_path, EXAMPLE))
    assert f"{place}:2: identity.isuer is not a known key" in caught.value.message


def test_whom_the_administrator_revokes_is_told_with_the_settings(tmp_path: Path, place: Path) -> None:
    manage(place, 'revoked = ["sub", "tid/oid"]\n')
    assert load(environ=user(tmp_path, EXAMPLE)).revoked == {"sub", "tid/oid"}


def test_a_revocation_list_that_is_none_stops_everything(tmp_path: Path, place: Path) -> None:
    manage(place, 'revoked = "sub"\n')
    with pytest.raises(Failure, match="revoked must be a list of texts"):
        load(environ=user(tmp_path, EXAMPLE))
