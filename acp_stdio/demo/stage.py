"""The demo's stage: a private temporary folder with everything its processes may touch."""

import base64
import os
import secrets
import shlex
import site
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import acp_stdio
from acp_stdio.demo.human import ACCOUNT_VARIABLE, SEEN_VARIABLE
from acp_stdio.demo.people import CLIENT_ID, SCOPE, Person

RECHECK_SECONDS: Final = 3
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "COMSPEC", "PATHEXT")
"""All that children inherit: no desktop, no D-Bus, no keyring, no proxy, no setting of the person's own."""


def base_environment(folder: Path) -> dict[str, str]:
    """An environment in which the person's home is the demo's folder."""
    package = str(Path(acp_stdio.__file__).parent.parent)
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "HOME": str(folder),
        "USERPROFILE": str(folder),
        "PYTHONUSERBASE": site.getuserbase(),  # packages that were installed with --user stay found
        "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH")))),
        "PYTHONUTF8": "1",
    }


@dataclass(frozen=True, slots=True)
class Desk:
    """One person's computer: a folder of their own with the configuration their company gave them."""

    person: Person
    folder: Path

    @property
    def page_seen(self) -> Path:
        """Where the scripted human writes down what the last page in the browser says."""
        return self.folder / "browser.txt"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def environment(self) -> dict[str, str]:
        human = shlex.join([sys.executable, "-m", "acp_stdio.demo.human"])
        return base_environment(self.folder) | {
            "ACP_STDIO_HOME": str(self.folder),
            "BROWSER": human,
            ACCOUNT_VARIABLE: self.person.account,
            SEEN_VARIABLE: str(self.page_seen),
        }

    def furnish(self, issuer: str, finance_url: str) -> None:
        """Writes the configuration, and the key of the encrypted store in a file for this user alone."""
        key = self.folder / "store.key"
        config = self.folder / "config" / "config.toml"
        for folder in (self.folder, config.parent):
            folder.mkdir(mode=0o700)
        with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)).decode())
        config.write_text(
            f"""\
version = 1

[identity]
issuer = "{issuer}"
client_id = "{CLIENT_ID}"
scopes = ["openid", "email", "offline_access", "{SCOPE}"]
require_account = {{ domain = "acme.example" }}
recheck_identity = "{RECHECK_SECONDS}s"   # short for the demo; 15 minutes by default

[upstreams.finance]
url = "{finance_url}"
scopes = ["{SCOPE}"]

[storage]
backend = "file"                # the demo leaves your keyring alone
key_file = '{key}'
""",
            encoding="utf-8",
        )

    def forbid(self, tool: str) -> None:
        """What the company adds to its rules one day."""
        with open(self.folder / "config" / "config.toml", "a", encoding="utf-8") as config:
            config.write(f'\n[[policy.rules]]\neffect = "deny"\nupstream = "finance"\ntool = ["{tool}"]\n')
