"""What a logout ends and leaves behind, and what an administrator ends without the person: against a real provider."""

from urllib.parse import parse_qs, urlsplit

import pytest

from acp_stdio.errors import EXIT_DENIED, EXIT_SIGN_IN_REQUIRED
from tests.kit.host import reason_of, text_of
from tests.kit.scene import Scene, eventually
from tests.kit.signing_in import ROOT

pytestmark = pytest.mark.real


def asked_to_revoke(scene: Scene) -> int:
    """How many tokens the provider was asked to end. It keeps no list of its JWTs, and says so by status 400."""
    return sum(entry["path"] == "/token/revocation" for entry in scene.provider.log())


def test_a_logout_ends_the_refresh_token_and_each_processs_access_token_and_leaves_a_receipt(scene: Scene) -> None:
    scene.login()
    with scene.host() as first, scene.host() as second:
        for host in (first, second):
            assert text_of(host.call("whoami")) == "alice"
        before = asked_to_revoke(scene)
        done = scene.machine.run("logout", "--reason", "laptop goes back", "--end-session")
        assert done.returncode == 0, done.stderr
        eventually(lambda: asked_to_revoke(scene) == before + 3, "asked for one refresh and two access tokens")
    (receipt,) = scene.trail("logout")
    assert (receipt["reason"], receipt["user"]["sub"]) == ("laptop goes back", "alice")
    sign_in = receipt["sign_in"]
    assert (sign_in["issuer"], sign_in["revocation"], sign_in["deleted"]) == (scene.provider.issuer, "revoked", True)
    assert sign_in["access_until"] is not None
    (login,) = scene.trail("login")
    assert (login["sign_in"]["client_id"], login["sign_in"]["storage"]) == ("acp-stdio", "file")
    page = urlsplit(scene.machine.seen.read_text().splitlines()[-1])
    assert page.path == "/session/end"
    assert parse_qs(page.query) == {"client_id": ["acp-stdio"], "logout_hint": ["alice@example.com"]}


def managed_by(scene: Scene, content: str) -> None:
    """Puts a managed file there, for every process of this home, as no variable of the product's could."""
    folder = scene.home / "site"
    folder.mkdir(exist_ok=True)
    place = folder / "config.toml"
    place.write_text(content, encoding="utf-8")
    (folder / "sitecustomize.py").write_text(
        "import pathlib\nfrom acp_stdio.settings import managed\n"
        f"managed.PLACE, managed.ADMINISTRATOR = pathlib.Path({str(place)!r}), {folder.stat().st_uid}\n",
        encoding="utf-8",
    )
    scene.machine.extra_environment["PYTHONPATH"] = f"{folder}:{ROOT}"


def test_a_revoked_person_is_purged_at_the_next_start_and_cannot_sign_in_again(scene: Scene) -> None:
    scene.login()
    before = asked_to_revoke(scene)
    managed_by(scene, 'revoked = ["alice"]\n')
    for command in ("status", "doctor"):  # which change nothing
        assert "Your administrator signed you out" in scene.machine.run(command).stdout
    assert scene.session()["signed_in"]
    with scene.host(shaken=False) as host:
        host.shake_hands()
        assert reason_of(host.call("whoami")) in ("denied", "login_required")
        eventually(lambda: scene.session()["ended_because"] == "withdrawn", "purged")
        eventually(lambda: scene.trail("logout"), "recorded")
    (receipt,) = scene.trail("logout")
    assert receipt["reason"] == "revoked by the administrator"
    assert (receipt["sign_in"]["revocation"], receipt["sign_in"]["deleted"]) == ("revoked", True)
    assert asked_to_revoke(scene) == before + 1

    told = scene.machine.run("status")
    assert told.returncode == EXIT_SIGN_IN_REQUIRED
    assert "Your administrator signed you out: your access on this computer was withdrawn." in told.stdout

    again = scene.machine.run("login")
    scene.remember()
    assert again.returncode == EXIT_DENIED
    assert "Your administrator has withdrawn your access" in again.stderr
    assert asked_to_revoke(scene) == before + 3, "what that sign-in brought is given back"


def test_the_users_own_file_revokes_nobody(scene: Scene) -> None:
    config = scene.home / "config" / "config.toml"
    config.write_text('revoked = ["alice"]\n' + config.read_text())
    refused = scene.machine.run("status")
    assert "revoked is the administrator's to say, in the managed file" in refused.stderr
