"""Who the authorization server is (RFC 8414, OpenID Connect Discovery) and what it can do."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlencode, urlsplit

import httpx2

from acp_stdio.errors import Failure
from acp_stdio.oauth.cache import PublicCache
from acp_stdio.oauth.http import ConnectionFailed, send
from acp_stdio.oauth.presets import Preset, preset_of
from acp_stdio.oauth.words import plain
from acp_stdio.oauth.written import BY_THE_BOOK, Written, written_about
from acp_stdio.settings import checks
from acp_stdio.settings.model import IdentitySettings

METADATA_MAX_AGE: Final = 3600.0
"""Seconds that cached metadata is used for."""


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """The parts of the metadata that we act on, validated."""

    issuer: str
    """As configured and as the document has it, byte for byte: what an `iss` is compared with."""
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str = ""
    """Empty: it signs nothing that we could check, as a plain OAuth server may (RFC 8414 section 2)."""
    registration_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    end_session_endpoint: str | None = None
    user_endpoint: str = ""
    """Where a provider without ID tokens says whose an access token is."""
    pkce_methods: tuple[str, ...] = ()
    iss_parameter_supported: bool = False
    """RFC 9207: the redirect then must carry `iss`."""
    signing_algorithms: tuple[str, ...] = ()
    """For ID tokens, as published; `identity.claims` takes only asymmetric ones from it."""
    scopes_supported: tuple[str, ...] = ()
    auth_methods: tuple[str, ...] = ()
    """`token_endpoint_auth_methods_supported`."""
    client_documents: bool = False
    """`client_id_metadata_document_supported`: a client id may be the address of a document about the client."""
    dpop_algorithms: tuple[str, ...] = ()
    """`dpop_signing_alg_values_supported` (RFC 9449 section 5.1); empty: it does not say."""
    openid: bool = False
    """It issues ID tokens (OpenID Connect)."""
    issuer_alternatives: tuple[str, ...] = ()
    """Further values that the `iss` of a token may have; `{tenantid}` stands for its `tid` claim."""
    deviations: tuple[str, ...] = ()
    """Where the provider may differ from the specifications, in words for logs and `status`."""
    defaults: bool = False
    """It publishes no metadata: the endpoints are those of `oauth.defaults`."""

    @property
    def token_issuers(self) -> tuple[str, ...]:
        """Every value that `iss` of a token of this server may have."""
        return (self.issuer, *self.issuer_alternatives)


class Unpublished(Failure):
    """A server says of each place where its metadata may lie that nothing is there (404)."""


def server_of(
    identity: IdentitySettings, issuer: str, http: httpx2.Client, cache: PublicCache | None = None
) -> AuthorizationServer:
    """The authorization server `issuer` for somebody with these settings. Raises as `discover`."""
    return discover(issuer, preset_of(identity), http, cache, written_about(issuer, identity))


def discover(
    issuer: str,
    preset: Preset,
    http: httpx2.Client,
    cache: PublicCache | None = None,
    written: Written = BY_THE_BOOK,
) -> AuthorizationServer:
    """The metadata of `issuer`: RFC 8414 first, then OpenID Connect, from the cache where it is fresh.

    Nothing is fetched where the preset or what is `written` says all.
    Raises `Failure`: `idp_unreachable` where no document could be had, `configuration_invalid`
    where there is one that must not be used (another issuer, no PKCE, an endpoint without https).
    `Unpublished` is one with `idp_unreachable`.
    """
    now, name = time.time(), written.discovery_url or issuer
    if (document := preset.metadata(issuer) or written.metadata(issuer)) is not None:
        return parse_metadata(document, issuer, preset, written)
    if cache is not None and (known := cache.load(name, max_age=METADATA_MAX_AGE, now=now)):
        return parse_metadata(known, issuer, preset, written)
    document = _fetch(issuer, written.places(issuer), http)
    server = parse_metadata(document, issuer, preset, written)
    if cache is not None:
        cache.store(name, document, now=now)
    return server


def parse_metadata(
    document: dict[str, Any], issuer: str, preset: Preset, written: Written = BY_THE_BOOK
) -> AuthorizationServer:
    """Checks `document` and takes what we use from it, after what is `written`.

    Raises `Failure(configuration_invalid)`.
    """

    def endpoint(name: str) -> str | None:
        return written.endpoints.get(name) or _endpoint(document, name, issuer)

    def required(name: str) -> str:
        if url := endpoint(name):
            return url
        raise _unusable(issuer, f"its metadata has no {name}")

    deviations = [*preset.deviations, *written.deviations()]
    stated = document.get("issuer")
    alternatives: list[str] = []
    if stated != issuer:  # RFC 8414 section 3.3: identical, or the document MUST NOT be used
        template = preset.issuer_template(issuer)
        if not isinstance(stated, str) or stated != template:
            raise _unusable(issuer, f"its metadata names the issuer {plain(str(stated))!r}")
        alternatives.append(stated)
        deviations.append(f"the metadata's issuer is the template {stated}")
    alternatives += preset.issuer_alternatives(issuer)
    methods = _texts(document, "code_challenge_methods_supported")
    if "S256" not in methods:  # MCP, authorization code protection: not advertised means refused
        _check_pkce(issuer, methods, preset, written)
        if not preset.pkce_unadvertised:
            deviations.append("PKCE is used although nothing says that it is offered")
    return AuthorizationServer(
        issuer=issuer,
        authorization_endpoint=required("authorization_endpoint"),
        token_endpoint=required("token_endpoint"),
        jwks_uri=endpoint("jwks_uri") or "",
        registration_endpoint=endpoint("registration_endpoint"),
        device_authorization_endpoint=endpoint("device_authorization_endpoint"),
        revocation_endpoint=endpoint("revocation_endpoint"),
        end_session_endpoint=endpoint("end_session_endpoint"),
        user_endpoint=(endpoint("user_endpoint") or "") if preset.endpoints else "",
        pkce_methods=methods,
        iss_parameter_supported=document.get("authorization_response_iss_parameter_supported") is True,
        signing_algorithms=_texts(document, "id_token_signing_alg_values_supported"),
        scopes_supported=_texts(document, "scopes_supported"),
        auth_methods=_texts(document, "token_endpoint_auth_methods_supported"),
        client_documents=document.get("client_id_metadata_document_supported") is True,
        dpop_algorithms=_texts(document, "dpop_signing_alg_values_supported"),
        openid="openid" in _texts(document, "scopes_supported")
        or bool(_texts(document, "id_token_signing_alg_values_supported")),
        issuer_alternatives=tuple(alternatives),
        deviations=tuple(deviations),
    )


def end_session_url(server: AuthorizationServer, client_id: str, hint: str) -> str:
    """OpenID Connect RP-Initiated Logout 1.0 section 2; empty where `server` has no end session endpoint.

    `hint`: who wants to leave, as people write it; may be empty.
    """
    if server.end_session_endpoint is None:
        return ""
    query = {"client_id": client_id, **({"logout_hint": hint} if hint else {})}
    mark = "&" if urlsplit(server.end_session_endpoint).query else "?"
    return f"{server.end_session_endpoint}{mark}{urlencode(query)}"


def _check_pkce(issuer: str, methods: tuple[str, ...], preset: Preset, written: Written) -> None:
    """What lists other methods does not have S256; what lists none may have it. Raises `Failure`."""
    if methods:
        raise _unusable(issuer, "its metadata does not offer PKCE with S256 (RFC 7636)")
    if not (preset.pkce_unadvertised or written.pkce_unadvertised):
        who = "nothing says that it takes" if written.is_enough else "its metadata does not offer"
        raise Failure(
            "configuration_invalid",
            f"{issuer} cannot be used: {who} PKCE with S256 (RFC 7636).",
            "Ask whoever runs it. If it takes PKCE all the same, write allow_unadvertised_pkce = true beside `issuer`.",
        )


def _fetch(issuer: str, places: Iterable[str], http: httpx2.Client) -> dict[str, Any]:
    seen: list[str] = []
    trouble, absent = False, True
    for url in places:
        try:
            answer = send(http, "GET", url)
        except ConnectionFailed as error:
            raise error.failure() from None
        document = answer.json_object() if answer.status == 200 else None
        if document is not None:
            return document
        # A web page with status 200 is a site that answers every path, or a network that wants a login.
        seen.append(f"{url} ({answer.status if answer.status != 200 else 'no JSON'})")
        trouble = trouble or answer.status >= 500 or answer.status == 429
        absent = absent and answer.status == 404
    raise (Unpublished if absent else Failure)(
        "idp_unreachable",
        f"{issuer} publishes no metadata that could be read; asked: {', '.join(seen)}.",
        "Try again in a minute."
        if trouble
        else "Check `issuer` and the network. If the metadata is elsewhere, write `discovery_url`; if there is none, "
        "`endpoints`.",
    )


def _endpoint(document: dict[str, Any], name: str, issuer: str) -> str | None:
    url = document.get(name)
    if url is None:
        return None
    problem = checks.url(url) if isinstance(url, str) else "is not text"
    # Plain http was allowed for loopback by `checks.url`; from a real issuer it is an attack or a mistake.
    if not problem and urlsplit(cast("str", url)).scheme == "http" and urlsplit(issuer).scheme != "http":
        problem = "must use https"
    if problem:
        raise _unusable(issuer, f"its {name} {problem}")
    return cast("str", url)


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...]:
    value = document.get(name)
    if not isinstance(value, list):
        return ()
    return tuple(item for item in cast("list[object]", value) if isinstance(item, str))


def _unusable(issuer: str, why: str) -> Failure:
    return Failure(
        "configuration_invalid",
        f"{issuer} cannot be used: {why}.",
        "Check `issuer` and `preset` in the configuration, to the last character, or ask who runs it.",
    )
