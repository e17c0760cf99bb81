"""One profile with a scripted identity provider: the stage for the tests of this folder."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from acp_stdio.errors import Failure
from acp_stdio.identity.model import AccessToken, Account, Grant, Session
from acp_stdio.oauth.endpoint import TokenError, TokenErrorKind, TokenResponse
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import IdentitySettings, Settings, UpstreamSettings
from acp_stdio.settings.paths import Paths
from acp_stdio.tokens.context import Context, TokenHint
from acp_stdio.tokens.refresh import obtain_token
from acp_stdio.tokens.session_file import SessionFile
from tests.kit.memory_vault import MemoryVault

NOW = 10_000.0
ISSUER = "https://idp.example.com"
URL = "https://finance.example.com/mcp"
SARAH = Account("sub-1", "sarah@example.com", "sub-1", ISSUER)
FINANCE = UpstreamSettings("finance", URL)
SESSION = Session(
    generation=3,
    signed_in=True,
    account=SARAH,
    issuer=ISSUER,
    client_id="acp-stdio",
    storage="memory",
    resources={"finance": URL},
    obtained_at=9000.0,
    confirmed_at=9500.0,
)
GRANT = Grant(Secret("rt-0"), ISSUER, "acp-stdio", "sub-1", 9000.0, generation=3, rotation=5)

Script = Callable[["World"], TokenResponse]


def ok(successor: str | None = "rt-1", access: str = "at-1") -> Script:
    return lambda _: TokenResponse(
        access_token=Secret(access),
        token_type="Bearer",
        refresh_token=Secret(successor) if successor else None,
        expires_in=300.0,
    )


def refuses(kind: TokenErrorKind, words: str = "the IdP's own words") -> Script:
    def answer(_world: "World") -> TokenResponse:
        raise TokenError(kind, words)

    return answer


@dataclass
class World:
    """One profile with a scripted provider. Times do not pass; pauses are written down."""

    tmp: Path
    script: list[Script]
    memory: MemoryVault = field(default_factory=MemoryVault)
    spent: list[str] = field(default_factory=list[str])
    slept: list[float] = field(default_factory=list[float])
    revoked: list[str] = field(default_factory=list[str])
    revocation: Literal["revoked", "unsupported", "failed"] = "revoked"
    known_issuers: list[str] = field(default_factory=lambda: [ISSUER])
    closed: int = 0
    prepared: Failure | None = None
    proof: Failure | None = None

    def __post_init__(self) -> None:
        self.settings = Settings(
            IdentitySettings(ISSUER, "acp-stdio"),
            {"finance": FINANCE},
            Paths(self.tmp / "config", self.tmp / "state", self.tmp / "cache", self.tmp / "log"),
        )
        self.session = SessionFile(self.settings.state_dir)
        self.session.write(SESSION)
        self.ctx = Context(
            self.settings,
            self.session,
            lambda: self.memory,
            lambda issuer, client_id: self.named(issuer, client_id),
            clock=lambda: NOW,
            sleep=self.slept.append,
        )
        self.vault = self.ctx.vault
        self.vault.save(GRANT)

    def named(self, issuer: str, client_id: str) -> "World":
        assert issuer in self.known_issuers
        assert client_id == "acp-stdio"
        return self

    def close(self) -> None:
        self.closed += 1

    def prepare(self) -> None:
        if self.prepared:
            raise self.prepared

    def refresh(self, grant: Grant, upstream: UpstreamSettings, resource: str, claims: str) -> TokenResponse:
        assert (upstream, resource) == (FINANCE, URL)
        assert self.now().in_flight_since > 0, "what is about to be spent is written down first"
        self.spent.append(grant.refresh_token.reveal())
        return self.script.pop(0)(self)

    def prove(
        self,
        response: TokenResponse,
        upstream: UpstreamSettings,
        session: Session,
        sent_at: float,
        key: Secret | None,
    ) -> AccessToken:
        if self.proof:
            raise self.proof
        return AccessToken(response.access_token, upstream.name, URL, session.generation, sent_at, sent_at + 300.0)

    def revoke(self, token: Secret, hint: TokenHint = "refresh_token") -> Literal["revoked", "unsupported", "failed"]:
        self.revoked.append(token.reveal())
        return self.revocation

    def end_session_page(self, account: Account | None) -> str:
        return f"{ISSUER}/leave?who={account.label if account else ''}"

    def obtain(self, rejected: str | None = None) -> AccessToken:
        return obtain_token(self.ctx, FINANCE, rejected=rejected)

    def refused(self, rejected: str | None = None) -> Failure:
        with pytest.raises(Failure) as caught:
            self.obtain(rejected)
        return caught.value

    def now(self) -> Session:
        session = SessionFile(self.settings.state_dir).read()
        assert session is not None
        return session

    def stored(self) -> str | None:
        grant = self.vault.load()
        return grant.refresh_token.reveal() if grant else None
