"""What the settings say about an authorization server in place of its metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from acp_stdio.identity.well_known import issuer_metadata
from acp_stdio.settings.model import IdentitySettings

_NEEDED: Final = frozenset({"authorization_endpoint", "token_endpoint"})


@dataclass(frozen=True, slots=True)
class Written:
    """Of one issuer. The default is by the book: all is as the issuer publishes it."""

    discovery_url: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict[str, str])
    """By the names that metadata has for them (RFC 8414 section 2)."""
    signs: bool = True
    """Its signatures will have to be checked, so that the address of its keys is needed, too."""
    pkce_unadvertised: bool = False

    @property
    def is_enough(self) -> bool:
        """Nothing has to be fetched for a sign-in."""
        needed = _NEEDED | ({"jwks_uri"} if self.signs else set[str]())
        return needed <= self.endpoints.keys()

    def metadata(self, issuer: str) -> dict[str, Any] | None:
        """All that is known about `issuer` besides the endpoints, where nothing is fetched; None where it must be."""
        return {"issuer": issuer} if self.is_enough else None

    def places(self, issuer: str) -> tuple[str, ...]:
        """Where the metadata of `issuer` may be, in the order of asking."""
        return (self.discovery_url,) if self.discovery_url else issuer_metadata(issuer)

    def deviations(self) -> list[str]:
        """In words, for logs and `status`."""
        found = [f"its metadata is read from {self.discovery_url}"] if self.discovery_url else []
        if self.endpoints:
            names = ", ".join(sorted(self.endpoints))
            found.append(f"the configuration, not its metadata, says what these are: {names}")
        return found


BY_THE_BOOK: Final = Written()


def written_about(issuer: str, identity: IdentitySettings) -> Written:
    """What `identity` says about `issuer`: nothing about another one than its own, such as that of an earlier sign-in.

    Else a refresh token of that one would be shown to the addresses of this one.
    """
    if issuer != identity.issuer:
        return BY_THE_BOOK
    return Written(
        discovery_url=identity.discovery_url,
        endpoints={_published(name): url for name, url in identity.endpoints.items()},
        signs="openid" in identity.scopes,
        pkce_unadvertised=identity.allow_unadvertised_pkce,
    )


def _published(name: str) -> str:
    return "jwks_uri" if name == "jwks" else f"{name}_endpoint"
