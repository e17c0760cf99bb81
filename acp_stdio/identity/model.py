"""Who the person is and what was granted, as values."""

from dataclasses import dataclass, field
from typing import Any

from acp_stdio.secrets import Secret


@dataclass(frozen=True, slots=True)
class Account:
    """A signed-in person, from verified ID token claims."""

    key: str
    """The claims named by `user_key`, joined with `/`: stable, for comparing."""
    label: str
    """What people read: an e-mail address where there is one."""
    sub: str
    issuer: str
    email: str = ""
    tenant: str = ""

    @property
    def known(self) -> bool:
        """False: nobody proved who it is, and the settings are content with that."""
        return bool(self.sub)

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "label": self.label,
            "sub": self.sub,
            "issuer": self.issuer,
            "email": self.email,
            "tenant": self.tenant,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Account":
        return cls(
            data["key"], data["label"], data["sub"], data["issuer"], data.get("email", ""), data.get("tenant", "")
        )


def unverified(issuer: str) -> Account:
    """Whoever signed in at an issuer that says nothing about people: unknown, and never guessed."""
    return Account(key="", label="unverified", sub="", issuer=issuer)


@dataclass(frozen=True, slots=True)
class Grant:
    """What lives in the vault: the refresh token and what must not be separated from it."""

    refresh_token: Secret
    issuer: str
    client_id: str
    account_key: str
    obtained_at: float
    """Seconds since the epoch; the time of the sign-in, kept over rotations."""
    generation: int
    """Rises with each login; equal to the session's, or the record is a stranger's."""
    rotation: int = 0
    """Rises with each saved refresh token of this generation."""
    place: str = ""
    """Which user of which computer signed in (`vault.place.here`); empty in records from before it was kept."""
    proof_key: Secret | None = None
    """The private key, as a JWK, that the refresh token may be bound to (RFC 9449 section 5); None: it is not."""


@dataclass(frozen=True, slots=True)
class Session:
    """The state of one login, shared by all processes through `session.json`. No secrets.

    `generation` rises with each login and each logout, so a process that holds a token of
    another generation knows that it is not its own any more.
    """

    generation: int
    signed_in: bool
    account: Account | None
    issuer: str = ""
    client_id: str = ""
    client_source: str = "configured"
    """How the client id was obtained: `configured`, `metadata document` or `registered`."""
    deviations: tuple[str, ...] = ()
    """Where the authorization server may differ from the specifications, in words, as of the sign-in."""
    default_endpoints: bool = False
    """The authorization server published nothing and is the MCP server itself (`oauth.defaults`)."""
    storage: str = ""
    """The vault backend that wrote the grant; empty where nothing is stored (`Held`)."""
    scopes: tuple[str, ...] = ()
    """What was granted: what the answer said, or exactly what was asked for (RFC 6749 section 5.1).

    `identity.scopes` compares. An earlier version added what was asked for."""
    asked: tuple[str, ...] = ()
    """The scopes that the sign-in asked for; empty in a session that an earlier version wrote."""
    claims: str = ""
    """What servers challenged for in `claims`, where its provider is sent those for each token: renewals ask, too."""
    resources: dict[str, str] = field(default_factory=dict[str, str])
    """Upstream name to the `resource` (RFC 8707) that was granted for it, byte for byte."""
    obtained_at: float = 0.0
    confirmed_at: float = 0.0
    """When the IdP last confirmed the person: a login or a successful refresh. Epoch seconds."""
    in_flight_since: float = 0.0
    """Set while a refresh token is being spent, 0 otherwise: tells an interrupted rotation from a revoked one."""
    in_flight_rotation: int = -1
    """Which `Grant.rotation` is being spent; -1 where that is not known. A later one was stored: nothing is cut off."""
    access_ttl: float = 0.0
    """Seconds that the last access token was issued for; `confirmed_at` plus this: no token lives longer."""
    refresh_expires_at: float = 0.0
    """When the stored refresh token ends, as the provider said with it. Epoch seconds; 0: it did not say."""
    jkt: str = ""
    """The thumbprint of the key that the sign-in proved to hold (RFC 9449); empty: it needed none."""
    token_type: str = ""
    """`DPoP` or `Bearer`: what the provider made of that; empty in a session that an earlier version wrote."""
    ended_at: float = 0.0
    ended_because: str = ""
    """Why `signed_in` is false: `logout`, `withdrawn` (the administrator has revoked the person), `revoked` (the IdP
    said invalid_grant), `interrupted` (answer lost),
    `forgotten` (the IdP does not know the client any more that had registered itself); of one that was held:
    `outlived` (its access token is over), `refused` (the server did not take that)."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A proven access token for one upstream. In memory only."""

    value: Secret
    upstream: str
    origin: str
    """scheme://host:port that it may be sent to; nothing else."""
    generation: int
    issued_at: float
    expires_at: float
    """Epoch seconds, from `expires_in` and our clock at the time of the answer."""
    token_type: str = "Bearer"  # noqa: S105  (RFC 6750, not a password)
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    """All that the token says, verified; the trail records a few of them."""
    person: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the ID token says that came with it, verified; empty where none came."""
    signing_key: Secret | None = None
    """This computer's own, where the upstream wants signed statements beside the token."""
    proof_key: Secret | None = None
    """The private key that a token of the type `DPoP` is bound to: each request needs a proof by it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A sign-in at a provider that issues no refresh token: in the memory of the process that asked for it only."""

    session: Session
    tokens: dict[str, AccessToken]
    """By upstream; none can be renewed."""
