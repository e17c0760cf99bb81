"""Signed rules, from the administrator's desk to a person's: `policy sign`, and what counts afterwards."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from acp_stdio.cli.main import main
from acp_stdio.errors import Failure
from acp_stdio.settings import managed, policy_files, signed_rules
from acp_stdio.settings.policy_files import PolicyFiles
from tests.kit import leaks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX owners and permissions")

RULES = 'version = 1\nserial = %d\n[[policy.rules]]\nid = "no-deletes"\neffect = "deny"\ntool = "delete_*"\n'
LONG_AGO = (1_700_000_000, 1_700_000_000)
MAKERS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
}


def save_key(path: Path, private: Any, how: KeySerializationEncryption | None = None) -> Path:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())
    path.touch(0o600)
    path.write_bytes(pem)
    leaks.remember(*[line for line in pem.decode().splitlines() if not line.startswith("-----")])
    return path


@dataclass
class Desk:
    """A computer with signed rules, whose administrator is whoever runs the tests."""

    home: Path
    key: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def rules(self) -> Path:
        return self.home / "rules.toml"

    def sign(self, text: str, key: Path | None = None) -> dict[str, Any]:
        self.rules.write_text(text, encoding="utf-8")
        self.capsys.readouterr()
        assert main(["policy", "sign", str(self.rules), "--key", str(key or self.key), "--json"]) == 0
        return json.loads(self.capsys.readouterr().out)

    def manage(self, text: str) -> None:
        managed.PLACE.write_text(text, encoding="utf-8")
        os.utime(managed.PLACE, LONG_AGO)

    def name(self, key: str) -> None:
        self.manage(f'[policy]\nfile = "{self.rules}"\nkey = "{key}"\n')

    def why(self) -> int:
        """The exit code for a call that the signed rules deny: 7, or 3 where they cannot be read."""
        return main(["policy", "why", "finance", "delete_all"])

    def said(self) -> str:
        self.capsys.readouterr()
        assert self.why() == 3
        return self.capsys.readouterr().err


@pytest.fixture(params=MAKERS)
def desk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    (tmp_path / "etc").mkdir(mode=0o755)
    monkeypatch.setattr(managed, "PLACE", tmp_path / "etc" / "config.toml")
    monkeypatch.setattr(managed, "ADMINISTRATOR", os.getuid())
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text('[upstreams.finance]\nurl = "http://127.0.0.1:1/mcp"\n')
    return Desk(tmp_path, save_key(tmp_path / "policy.key", MAKERS[request.param]()), capsys)


def test_signed_rules_count_and_check_says_by_whom(desk: Desk) -> None:
    told = desk.sign(RULES % 7)
    assert told["serial"] == 7
    desk.name(told["key"])
    assert desk.why() == 7
    desk.capsys.readouterr()
    assert main(["policy", "check", "--json"]) == 0
    checked = json.loads(desk.capsys.readouterr().out)
    assert checked["signed"] == {"by": told["signer"], "serial": 7, "file": str(desk.rules)}
    assert checked["layers"][0]["rules"] == ["managed/no-deletes"]
    assert main(["policy", "check"]) == 0
    assert f"managed: signed by {told['signer']}, serial 7" in desk.capsys.readouterr().out
    main(["doctor", "--json"])
    (found,) = [each for each in json.loads(desk.capsys.readouterr().out)["checks"] if each["name"] == "configuration"]
    assert found["message"].endswith(f"; rules {checked['version']}, signed by {told['signer']}, serial 7")


def test_rules_that_nobody_signed_are_said_to_be_so(desk: Desk) -> None:
    desk.manage("[policy]\ndefault = 'deny'\n")
    desk.capsys.readouterr()
    assert main(["policy", "check"]) == 0
    assert "managed: not signed" in desk.capsys.readouterr().out


def changed(desk: Desk) -> None:
    desk.rules.write_text(desk.rules.read_text() + " ")


def emptied(desk: Desk) -> None:
    desk.rules.write_text("")


def removed(desk: Desk) -> None:
    desk.rules.unlink()


def unsigned(desk: Desk) -> None:
    signed_rules.signature_of(desk.rules).unlink()


def garbled(desk: Desk) -> None:
    signed_rules.signature_of(desk.rules).write_text("no base64 !")


def signed_by_another(desk: Desk) -> None:
    desk.sign(RULES % 9, save_key(desk.home / "other.key", ed25519.Ed25519PrivateKey.generate()))


def older(desk: Desk) -> None:
    desk.sign(RULES % 6)


DAMAGE = [
    (changed, "is not as it was signed"),
    (emptied, "is not as it was signed"),
    (removed, "does not exist, but"),
    (unsigned, "is not signed"),
    (garbled, "is not as it was signed"),
    (signed_by_another, "is of another key than"),
    (older, "has the serial 6, and this computer has seen 7: older rules do not come back"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE)
def test_whatever_is_not_as_it_was_signed_is_said_with_what_to_do_and_nothing_passes(
    desk: Desk, damage: Callable[[Desk], None], words: str
) -> None:
    desk.name(desk.sign(RULES % 7)["key"])
    running = PolicyFiles(desk.home / "config" / "config.toml", desk.home / "state")
    policy = running.current()
    assert policy is not None
    assert desk.why() == 7
    damage(desk)
    assert words in desk.said()
    for _ in range(2):
        with pytest.raises(Failure, match="The rules about calls cannot be read, so nothing passes") as caught:
            running.current()
        assert words in caught.value.message
    desk.sign(RULES % 8)
    assert desk.why() == 7
    again = running.current()
    assert again is not None
    assert [rule.id for rule in again.layers[0].rules] == ["managed/no-deletes"]


def test_the_same_serial_may_be_read_again_and_another_key_starts_anew(desk: Desk) -> None:
    desk.name(desk.sign(RULES % 7)["key"])
    assert [desk.why(), desk.why()] == [7, 7]
    desk.name(desk.sign(RULES % 1, save_key(desk.home / "new.key", ed25519.Ed25519PrivateKey.generate()))["key"])
    assert desk.why() == 7
    assert len(list((desk.home / "state" / signed_rules.SEEN).iterdir())) == 2, "one file for each key"


def test_a_serial_that_cannot_be_kept_lets_nothing_pass_until_it_can(desk: Desk) -> None:
    desk.name(desk.sign(RULES % 7)["key"])
    (desk.home / "state").write_text("no directory")
    running = PolicyFiles(desk.home / "config" / "config.toml", desk.home / "state")
    with pytest.raises(Failure, match="cannot keep the serial"):
        running.current()
    (desk.home / "state").unlink()
    assert running.current() is not None


def test_a_signature_is_looked_at_once_and_then_only_after_a_change(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bytes] = []

    def holds(key: bytes, signature: bytes, content: bytes) -> bool:
        looks.append(content)
        return real(key, signature, content)

    real = signed_rules.holds
    monkeypatch.setattr(signed_rules, "holds", holds)
    assert policy_files.files is signed_rules.files
    desk.name(desk.sign(RULES % 7)["key"])
    running = PolicyFiles(desk.home / "config" / "config.toml", desk.home / "state")
    for _ in range(3):
        running.current()
    assert len(looks) == 1
    desk.sign(RULES % 8)
    running.current()
    running.current()
    assert len(looks) == 2


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('file = "/rules.toml"', "policy needs both, file and key"),
        ('key = "KEY"', "policy needs both, file and key"),
        ('file = "rules.toml"\nkey = "KEY"', "must be an absolute path"),
        ('file = "/rules.toml"\nkey = "abc"', "must be a public key, Ed25519 or P-256"),
        ('file = "/rules.toml"\nkey = "KEY"\ndefault = "deny"', "policy.default belongs in the signed file"),
    ],
)
def test_a_mistake_in_what_names_signed_rules_is_told(desk: Desk, lines: str, words: str) -> None:
    desk.manage(f"[policy]\n{lines}\n".replace("KEY", desk.sign(RULES % 1)["key"]))
    assert words in desk.said()


def test_only_the_administrator_says_whose_rules_count(desk: Desk) -> None:
    key = desk.sign(RULES % 1)["key"]
    user = desk.home / "config" / "config.toml"
    user.write_text(user.read_text() + f'[policy]\nfile = "{desk.rules}"\nkey = "{key}"\n')
    assert "policy.file is the administrator's to say" in desk.said()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RULES.replace("serial = %d\n", ""), "needs serial, a number that grows"),
        ("serial = 1\n", "needs [policy]"),
        (RULES.replace("deny", "dney") % 1, "did you mean deny?"),
        ("[upstreams]\n" + RULES % 1, "is not a known key"),
    ],
)
def test_rules_with_a_mistake_are_not_signed(desk: Desk, text: str, words: str) -> None:
    desk.rules.write_text(text)
    assert main(["policy", "sign", str(desk.rules), "--key", str(desk.key)]) == 3
    assert words in desk.capsys.readouterr().err
    assert not signed_rules.signature_of(desk.rules).exists()


def test_the_key_is_never_shown_and_a_wrong_one_is_said(desk: Desk) -> None:
    desk.rules.write_text(RULES % 1)
    big = save_key(desk.home / "rsa.key", rsa.generate_private_key(65537, 2048))
    locked = save_key(desk.home / "locked.key", ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"x"))
    broken = desk.home / "broken.key"
    broken.write_text(desk.key.read_text().replace("M", "N", 1))
    broken.chmod(0o644)
    said = ""
    for key, words in (
        (big, "is a key of another kind"),
        (locked, "has a passphrase, and there is no terminal"),
        (broken, "is no private key"),
        (desk.home / "none", "cannot be read"),
    ):
        assert main(["policy", "sign", str(desk.rules), "--key", str(key)]) == 3
        told = desk.capsys.readouterr()
        assert words in told.err
        said += told.out + told.err
    assert f"{broken} can be read by others" in said
    assert main(["policy", "sign", str(desk.rules), "--key", str(desk.key)]) == 0
    said += "".join(desk.capsys.readouterr())
    secret = [line for line in desk.key.read_text().splitlines() if not line.startswith("-----")]
    assert not [line for line in secret if line in said]
