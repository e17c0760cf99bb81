"""What the demo's identity provider remembers, in memory and for one run."""

import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from acp_stdio.demo.people import PEOPLE, Person

CODE_SECONDS = 60
DEVICE_SECONDS = 300


class Client(Protocol):
    """The part of Authlib's `ClientMixin` that is used here."""

    def get_client_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """A person who signed in, and what for: the "user" that Authlib hands around."""

    person: Person
    family: str
    """All codes and refresh tokens that descend from one sign-in; they are revoked together."""
    auth_time: int
    """When the person typed the password, epoch seconds."""
    resources: tuple[str, ...]
    """RFC 8707: what the person was asked to give access to."""
    audience: str
    """The one of them this token is for."""

    def get_user_id(self) -> str:
        return self.person.sub


@dataclass(slots=True)
class Code:
    """An authorization code: spent once, then kept to recognise its second use."""

    value: str
    client_id: str
    redirect_uri: str
    scope: str
    subject: Subject
    code_challenge: str
    nonce: str
    expires_at: float
    spent: bool = False
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.subject.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> list[str]:
        return ["pwd"]


@dataclass(slots=True)
class RefreshToken:
    """A refresh token: spent once, then kept to recognise its second use (RFC 9700 section 4.14.2)."""

    client_id: str
    scope: str
    subject: Subject
    spent: bool = False

    def check_client(self, client: Client) -> bool:
        return client.get_client_id() == self.client_id

    def get_scope(self) -> str:
        return self.scope


@dataclass(slots=True)
class Device:
    """A device waiting for its person (RFC 8628)."""

    client_id: str
    scope: str
    resources: tuple[str, ...]
    user_code: str
    interval: int
    expires_at: float
    asked_at: float = 0.0
    subject: Subject | None = None
    refused: bool = False

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return time.time() > self.expires_at


@dataclass(slots=True)
class Memory:
    """The identity provider's state. Its users hold `lock` while they read and change it."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    codes: dict[str, Code] = field(default_factory=dict[str, Code])
    refresh_tokens: dict[str, RefreshToken] = field(default_factory=dict[str, RefreshToken])
    devices: dict[str, Device] = field(default_factory=dict[str, Device])
    ended_families: set[str] = field(default_factory=set[str])
    disabled: set[str] = field(default_factory=set[str])

    def sign_in(self, account: str, password: str) -> Person | None:
        """The person, unless the password is wrong or somebody disabled the account."""
        person = PEOPLE.get(account)
        if person is None or person.password != password or account in self.disabled:
            return None
        return person

    def may_go_on(self, subject: Subject) -> bool:
        """Whether tokens may still be issued for this sign-in."""
        return subject.family not in self.ended_families and subject.person.account not in self.disabled

    def live_sign_ins(self, account: str) -> int:
        """How many sign-ins of this person could still be refreshed."""
        tokens = [t for t in self.refresh_tokens.values() if not t.spent and self.may_go_on(t.subject)]
        return len({t.subject.family for t in tokens if t.subject.person.account == account})

    def device_of(self, user_code: str) -> Device | None:
        """The waiting device with this code, however the person typed it."""
        wanted = user_code.strip().upper()
        return next((d for d in self.devices.values() if d.user_code == wanted and not d.is_expired()), None)
