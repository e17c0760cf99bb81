"""What refresh, login and logout work on: the shared session, the vault, and the provider."""

import contextlib
import functools
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken, Account, Grant, Session
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.vault.grants import GrantVault
from acp_stdio.vault.lock import FileLock
from acp_stdio.vault.place import here
from acp_stdio.vault.store import Vault

if TYPE_CHECKING:
    from acp_stdio.oauth.endpoint import TokenResponse
    from acp_stdio.tokens.registrations import Registrations

TokenHint = Literal["refresh_token", "access_token"]
"""RFC 7009 section 2.1."""

_TURN: Final = 0.02
"""Seconds between two looks at the lock, and at whether anybody still wants the token."""


class Cancelled(Exception):
    """Whoever asked went away before anything was spent."""


class Provider(Protocol):
    """The identity provider, for one client: what the refresh and the logout need of it. Close it."""

    def close(self) -> None:
        """Closes its connections."""
        ...

    def prepare(self) -> None:
        """Fetches the public documents, where they are not cached. Raises `Failure`."""
        ...

    def refresh(self, grant: Grant, upstream: UpstreamSettings, resource: str, claims: str) -> "TokenResponse":
        """RFC 6749 section 6, spent once, without a retry. `claims` counts where the provider is sent some at all.

        Raises `oauth.endpoint.TokenError`.
        """
        ...

    def prove(
        self,
        response: "TokenResponse",
        upstream: UpstreamSettings,
        session: Session,
        sent_at: float,
        key: Secret | None,
    ) -> AccessToken:
        """The access token, once it is proven to be this person's for this upstream. `key`: what it may be bound to.

        Raises `Failure`.
        """
        ...

    def revoke(self, token: Secret, hint: TokenHint = "refresh_token") -> Literal["revoked", "unsupported", "failed"]:
        """RFC 7009, at its revocation endpoint. Raises nothing."""
        ...

    def end_session_page(self, account: Account | None) -> str:
        """Where a browser ends the session at the provider itself; empty where it has no such page."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """One sign-in: that of the identity at hand in `settings`. Build it with `open_context`."""

    settings: Settings
    session: SessionFile
    open_vault: Callable[[], Vault]
    """Opened late and once: a logout's tombstone must not wait for a keyring."""
    provider: Callable[[str, str], Provider]
    """From issuer and client id: a logout talks to whoever issued the grant, configured or not."""
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    place: str = ""
    """`vault.place.here`: whose stored sign-ins are ours."""
    may_prompt: bool = False
    """The keyring may ask the person to unlock it."""

    @property
    def registrations(self) -> "Registrations":
        """What authorization servers gave us when we registered there."""
        from acp_stdio.tokens.registrations import Registrations

        return Registrations(self.settings.session_dir, self.settings.grant_scope, self.open_vault)

    @property
    def vault(self) -> GrantVault:
        """Where the grant of the session at hand is, or will be where there is none yet."""
        return self._vault_of(self._owner)

    def vault_of(self, issuer: str, client_id: str) -> GrantVault:
        """Where the grant of that issuer and client is: another one's than ours after a change of configuration."""
        return self._vault_of(lambda: (issuer, client_id))

    def _vault_of(self, owner: Callable[[], tuple[str, str]]) -> GrantVault:
        return GrantVault(self.open_vault(), self.settings.grant_scope, owner)

    def _owner(self) -> tuple[str, str]:
        session = None
        with contextlib.suppress(Failure):  # damaged: the configured one is the best guess
            session = self.session.current()
        if session is None or not session.issuer:
            return self.settings.identity.issuer, self.settings.identity.client_id
        return session.issuer, session.client_id

    @contextlib.contextmanager
    def renewing(self, timeout: float, cancelled: Callable[[], bool] = lambda: False) -> Generator[None]:
        """Holds the lock over the stored grant: whoever has it may spend, replace or delete it.

        Waits `timeout` seconds at most. Raises `Failure` timeout, or `Cancelled`.
        """
        lock = self._lock()
        until = time.monotonic() + timeout
        while not _taken(lock):
            if cancelled():
                raise Cancelled
            if time.monotonic() >= until:
                raise Failure(
                    "timeout",
                    f"Another acp-stdio process has been renewing your sign-in for {timeout:.0f} seconds.",
                    "Try again in a moment; `acp-stdio status` names the processes that run.",
                )
            time.sleep(_TURN)
        try:
            if cancelled():
                raise Cancelled
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def renewing_if_free(self, timeout: float) -> Generator[bool]:
        """Like `renewing`, but goes on without the lock after `timeout`; says whether it has it."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self.renewing(timeout))
            except Failure:
                yield False
            else:
                yield True

    def forget_grant(self) -> None:
        """Deletes a grant that is void already; where that fails, its generation keeps it from being used."""
        with contextlib.suppress(Failure):
            self.vault.delete()

    def _lock(self) -> FileLock:
        return FileLock(self.settings.session_dir / "refresh.lock")


def _taken(lock: FileLock) -> bool:
    try:
        return lock.try_acquire()
    except OSError as error:
        raise Failure(
            "configuration_invalid",
            f"The state directory cannot be written: {error.strerror or 'I/O error'}.",
            "Make room and see that it belongs to you.",
        ) from None


def open_context(settings: Settings, *, may_prompt: bool, default_endpoints: bool = False) -> Context:
    """The real thing for the sign-in at hand; for an upstream's, see `sign_ins.settings_of`.

    `may_prompt` allows the keyring to ask the person, which `run` never does. `default_endpoints`: a sign-in is to
    come at those of `oauth.defaults`; later the session says so.
    """
    sessions = SessionFile(settings.session_dir)

    def vault() -> Vault:
        from acp_stdio.vault.open import open_vault

        return open_vault(settings.storage, settings.state_dir, may_prompt=may_prompt)

    open_once = functools.cache(vault)

    def provider(issuer: str, client_id: str) -> Provider:
        from acp_stdio.tokens.clients import credential_of
        from acp_stdio.tokens.provider import OAuthProvider
        from acp_stdio.tokens.registrations import Registrations

        registrations = Registrations(settings.session_dir, settings.grant_scope, open_once)
        credential = functools.partial(
            credential_of, client_id, settings.identity, registrations=registrations, may_prompt=may_prompt
        )
        return OAuthProvider(settings, issuer, client_id, credential, defaults=default_endpoints or known(issuer))

    def known(issuer: str) -> bool:
        session = None
        with contextlib.suppress(Failure):
            session = sessions.read()
        return session is not None and session.issuer == issuer and session.default_endpoints

    return Context(settings, sessions, open_once, provider, place=here(), may_prompt=may_prompt)
