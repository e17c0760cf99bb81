"""What the user wants, as frozen values with their defaults.

Only keys that this version acts on exist here; anything else in a configuration file is an
error, so that nobody believes in a policy that is not enforced.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from acp_stdio.settings.paths import Paths

if TYPE_CHECKING:
    from acp_stdio.policy.rules import Policy

Preset = Literal["generic", "entra", "okta", "auth0", "google", "keycloak", "cognito", "ping", "github"]
Flow = Literal["browser", "device"]
Dpop = Literal["off", "auto", "require"]
Transport = Literal["auto", "http", "sse", "stdio"]
Principal = Literal["required", "unverified"]
TokenRequest = Literal["resource", "audience", "scope", "exchange", "omit"]
TokenFormat = Literal["jwt", "opaque", "id_token"]
ArgumentsMode = Literal["none", "digest", "full"]
Survives = Literal["crash", "power_loss"]
Deliver = Literal["best_effort", "required"]
StorageBackend = Literal["auto", "secret-service", "macos", "windows", "file"]

ENDPOINTS: Final = ("authorization", "token", "device_authorization", "revocation", "end_session", "jwks")
"""What `endpoints` may name: the addresses of a provider that this program ever asks."""

DEFAULT: Final = "default"
"""The identity of the table `[identity]`, and the profile where none is named."""


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """The company's identity provider and how this program is known there."""

    issuer: str
    """Empty: discovered from each upstream (RFC 9728) when somebody signs in, and kept with the session."""
    client_id: str
    """Empty: the client id metadata document, else dynamic registration."""
    preset: Preset = "generic"
    flow: Flow = "browser"
    redirect: str = "http://127.0.0.1:0/callback"
    """Port 0: any free one. RFC 8252 section 7.3 lets the IdP ignore the port."""
    scopes: tuple[str, ...] = ("openid", "offline_access")
    """Empty: what the discovered server offers of these two."""
    require_account: dict[str, str] = field(default_factory=dict[str, str])
    """Claims the person's ID token must carry; `domain` means the part of `email` after the @."""
    recheck_identity: float = 900.0
    """Seconds within which the IdP must have confirmed the person before a call."""
    max_session_age: float = 0.0
    """Seconds after which a person has to sign in anew, whatever the IdP renews; 0: no limit of ours."""
    user_key: tuple[str, ...] = ("sub",)
    user_label: tuple[str, ...] = ("email", "preferred_username", "sub")
    name: str = DEFAULT
    client_metadata_url: str = ""
    """Where a company hosts our client id metadata document, which is our client id then."""
    client_secret_ref: str = ""
    """`keyring:NAME` or `file:PATH`: where the secret of a confidential client is. Never the secret."""
    authorize_params: dict[str, str] = field(default_factory=dict[str, str])
    """What the sign-in page is told in the provider's own words, such as an organization or where to sign in first."""
    discovery_url: str = ""
    """Where the issuer's metadata is; empty: at the well-known places."""
    endpoints: dict[str, str] = field(default_factory=dict[str, str])
    """Addresses that count in place of the metadata's, by the names in `ENDPOINTS`."""
    allow_unadvertised_pkce: bool = False
    """PKCE is used although nothing says that the provider takes it; without this it is not signed in there."""
    clock_skew: float = 60.0
    """Seconds by which the clock that a token was issued by may differ from ours."""
    dpop: Dpop = "off"
    """Whether tokens are bound to a key of the sign-in (RFC 9449). auto: where the IdP says that it can. Off unless
    somebody chooses it: the IdP then binds access tokens too, and a server that reads only `Bearer` refuses them."""
    origins: dict[str, str] = field(default_factory=dict[str, str], compare=False)
    """Key to where its value came from: `default`, `preset NAME`, or the file."""


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """One MCP server behind us."""

    name: str
    url: str
    token_request: TokenRequest = "resource"  # noqa: S105 - how it is asked for, not a token
    audience: tuple[str, ...] = ()
    """Accepted values of the token's `aud`.

    Empty: the protected resource metadata's `resource`, else the URL.
    """
    scopes: tuple[str, ...] = ()
    """Empty: what the server's challenge or metadata asks for."""
    principal: Principal = "required"
    """unverified: calls may leave although nobody proved who is asking; the trail says so."""
    token_format: TokenFormat = "jwt"  # noqa: S105 - its kind, not a token
    """What is sent: a JWT access token, proven; an access token that cannot be read, so bound to this
    origin by this very setting; or the ID token, for servers that take no other."""
    identity: str = DEFAULT
    """Whose tokens it is sent: the name of an identity."""
    assertion: bool = False
    """Each request also brings a statement signed with this computer's key (`ACP-Assertion`)."""
    transport: Transport = "auto"
    """auto: Streamable HTTP, else HTTP+SSE where the server turns out to be that old. stdio: a child of ours, whose
    `url` is `stdio:` and its command line."""
    command: tuple[str, ...] = ()
    """The child's program and arguments."""
    env: dict[str, str] = field(default_factory=dict[str, str])
    """Added to the few variables that a child gets."""
    token_meta: str = ""
    """The `_meta` key under which a child's requests carry the token; empty: it gets none, and needs no sign-in."""
    origins: dict[str, str] = field(default_factory=dict[str, str], compare=False)
    """As `IdentitySettings.origins`; empty for one that is no more than an address of the command line."""

    @property
    def resource(self) -> str:
        """What tokens are asked for where the upstream does not say it itself: its address; a child has none."""
        return self.audience[0] if self.transport == "stdio" and self.audience else self.url

    @property
    def takes_token(self) -> bool:
        """Whether calls need the person's token, and so a sign-in."""
        return self.transport != "stdio" or bool(self.token_meta)


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Where the refresh token lives."""

    backend: StorageBackend = "auto"
    key_file: Path | None = None
    """`backend = "file"` only: a 0600 file with 32 bytes as base64, the key of the encrypted store."""
    directory: Path | None = None
    """`backend = "file"` only: where the encrypted records are kept; default: the state directory."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How to reach the company."""

    proxy: str = ""
    ca_bundle: str = ""


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where the trail is kept."""

    path: Path | None = None
    arguments: ArgumentsMode = "digest"
    survives: Survives = "crash"
    """power_loss: an intent is on the disk itself before its call leaves."""
    retention: float = 400 * 86_400.0
    """Seconds after which a chain that ended is removed."""
    otlp: str = ""
    """The base address of an OTLP/HTTP collector that gets a copy of each record; empty: none does."""
    deliver: Deliver = "best_effort"
    """required: no call while `max_backlog` records have not been accepted there."""
    max_backlog: int = 1000


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How we behave towards the host."""

    helper_tools: bool = True
    call_timeout: float = 230.0
    """Seconds; below Claude Desktop's limit of four minutes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a command needs to know. Built by `settings.load.load`."""

    identity: IdentitySettings
    """The identity at hand: the table `[identity]`, or the one that `of` or `for_identity` chose."""
    upstreams: dict[str, UpstreamSettings]
    """Those that the command is about; after `for_identity`, those of the identity at hand."""
    paths: Paths
    profile: str = DEFAULT
    storage: StorageSettings = StorageSettings()
    network: NetworkSettings = NetworkSettings()
    audit: AuditSettings = AuditSettings()
    host: HostSettings = HostSettings()
    user_file: Path = Path()
    """The user's file, there or not: the command line's, or the platform's."""
    config_file: Path | None = None
    """The same where it is there."""
    allow_token_export: bool = False
    """`acp-stdio token` may print an access token, for programs that bring no client of their own."""
    policy: "Policy | None" = None
    """The rules about calls as they were read; `run` looks for newer ones before each call (`PolicyFiles`)."""
    identities: dict[str, IdentitySettings] = field(default_factory=dict[str, IdentitySettings])
    """The tables `[identities.NAME]`."""
    revoked: frozenset[str] = frozenset()
    """User keys whose sign-ins the administrator has ended; see `settings.revocations` for a process that lives."""
    issuer_dir: str = ""
    """Where issuers are discovered: the folder of the sign-in at one that is not the first; see `tokens.sign_ins`."""

    @property
    def needs_sign_in(self) -> bool:
        """Whether any upstream at hand takes a token; without upstreams there is nothing to say it is not needed."""
        return not self.upstreams or any(each.takes_token for each in self.upstreams.values())

    @property
    def state_dir(self) -> Path:
        """This profile's state: sign-ins, live processes, the trail."""
        return self.paths.state / self.profile

    @property
    def identity_dir(self) -> Path:
        """The state of the identity at hand, below the profile's unless it is the default one."""
        name = self.identity.name
        return self.state_dir if name == DEFAULT else self.state_dir / "identities" / name

    @property
    def session_dir(self) -> Path:
        """The state of the sign-in at hand: `session.json`, its locks, registrations."""
        return self.identity_dir / self.issuer_dir

    @property
    def grant_scope(self) -> str:
        """Keeps the stored grants of two profiles or identities apart that are known to one issuer as one client."""
        return self.profile if self.identity.name == DEFAULT else f"{self.profile}/{self.identity.name}"

    def of(self, upstream: UpstreamSettings) -> "Settings":
        """These settings with the identity that `upstream` names at hand. Raises `KeyError` where there is none."""
        return self.for_identity(upstream.identity)

    def for_identity(self, name: str) -> "Settings":
        """These settings with one identity at hand and its upstreams alone. Raises `KeyError`."""
        identity = self.identity if name == self.identity.name else self.identities[name]
        mine = {each.name: each for each in self.upstreams.values() if each.identity == name}
        return replace(self, identity=identity, upstreams=mine)

    def by_identity(self) -> "list[Settings]":
        """One for each identity that the upstreams at hand name, in their order; the default one where there are none.

        What is to be done for each sign-in is done for each of these.
        """
        names = dict.fromkeys(each.identity for each in self.upstreams.values()) or [self.identity.name]
        return [self.for_identity(name) for name in names]

    @property
    def audit_dir(self) -> Path:
        """Where this profile's trail is."""
        return self.audit.path or self.state_dir / "audit"

    @property
    def cache_dir(self) -> Path:
        """This profile's catalogue and public IdP documents; wiped by logout."""
        return self.paths.cache / self.profile
