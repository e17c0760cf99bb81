"""The identity provider: what it publishes, and whether our clocks agree."""

import contextlib
import time
from email.utils import parsedate_to_datetime

from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok, problem, skipped, warning
from acp_stdio.errors import Failure
from acp_stdio.identity.proof import ALGORITHM
from acp_stdio.oauth.http import ConnectionFailed, open_client, send
from acp_stdio.oauth.metadata import AuthorizationServer, server_of
from acp_stdio.oauth.written import written_about
from acp_stdio.settings.model import IdentitySettings, Settings
from acp_stdio.tokens.session_file import SessionFile


def issuer_of(settings: Settings) -> str:
    """The configured issuer, else the one that the sign-in found; nothing where there is neither."""
    if settings.identity.issuer:
        return settings.identity.issuer
    with contextlib.suppress(Failure):  # the session has a check of its own
        session = SessionFile(settings.session_dir).read()
        return session.issuer if session is not None else ""
    return ""


def address_of(settings: Settings) -> str:
    """Where a sign-in asks first; nothing without an issuer."""
    issuer = issuer_of(settings)
    if not issuer:
        return ""
    written = written_about(issuer, settings.identity)
    return written.endpoints["token_endpoint"] if written.is_enough else written.places(issuer)[0]


def unknown(_: Case) -> Finding:
    """Without an issuer there is nothing to ask before the first sign-in."""
    return skipped("no issuer is configured, so `acp-stdio login` asks each upstream for its own")


def discovery(case: Case) -> Finding:
    """The metadata, fetched anew and checked as at a sign-in. Raises `Failure`."""
    identity = case.settings.identity
    with open_client(case.settings.network) as http:
        server = server_of(identity, issuer_of(case.settings), http)
    details = {
        "issuer": server.issuer,
        "authorization_endpoint": server.authorization_endpoint,
        "token_endpoint": server.token_endpoint,
        "jwks_uri": server.jwks_uri,
        "device_authorization_endpoint": server.device_authorization_endpoint,
        "revocation_endpoint": server.revocation_endpoint,
        "pkce_methods": list(server.pkce_methods),
        "dpop_algorithms": list(server.dpop_algorithms),
        "deviations": list(server.deviations),
    }
    if identity.flow == "device" and not server.device_authorization_endpoint:
        message = f'{server.issuer} has no device endpoint, but the configuration says flow = "device".'
        return problem("configuration_invalid", message, 'Set [identity] flow = "browser".', **details)
    if doubt := _doubt(server, identity):
        return warning(*doubt, **details)
    deviations = f"; it deviates: {'; '.join(server.deviations)}" if server.deviations else ""
    pkce = "PKCE with S256" if "S256" in server.pkce_methods else "PKCE with S256, although it does not say so"
    return ok(f"{server.issuer} names itself so; {pkce}{deviations}", **details)


def _doubt(server: AuthorizationServer, identity: IdentitySettings) -> tuple[str, str] | None:
    unknown = sorted(set(identity.scopes) - set(server.scopes_supported)) if server.scopes_supported else []
    if unknown:
        return (
            f"{server.issuer} does not list the scopes {', '.join(unknown)}, which the configuration asks for.",
            "If signing in fails or does not last, ask whoever runs the provider about these scopes.",
        )
    if identity.dpop != "off" and ALGORITHM not in server.dpop_algorithms:
        return (
            f"{server.issuer} does not say that it binds tokens to a key with {ALGORITHM}, as the configuration "
            f'wants it (dpop = "{identity.dpop}").',
            "Ask whoever runs the provider for DPoP (RFC 9449), or change `dpop` under [identity].",
        )
    if not server.revocation_endpoint and identity.preset == "generic":  # presets say it among their deviations
        return (
            f"{server.issuer} has no revocation endpoint: `logout` ends the sign-in on this machine only.",
            "Ask whoever runs the provider to offer revocation (RFC 7009).",
        )
    return None


def clock(case: Case) -> Finding:
    """The provider's `Date` (RFC 9110 section 6.6.1) against ours."""
    issuer = issuer_of(case.settings)
    with open_client(case.settings.network) as http:
        before = time.time()
        try:
            answer = send(http, "GET", address_of(case.settings))
        except ConnectionFailed as error:
            raise error.failure() from None
        ours = (before + time.time()) / 2
    theirs = _date(answer.headers.get("date", ""), answer.headers.get("age", ""))
    if theirs is None:
        return skipped(f"{issuer} does not say what time it is")
    return compare(ours, theirs, case.settings.identity.clock_skew)


def compare(ours: float, theirs: float, most: float) -> Finding:
    """Two times in epoch seconds, and the seconds that they may differ by."""
    offset = round(ours - theirs)
    if abs(offset) <= max(1, most):  # a Date has no fraction
        return ok(f"agrees with the provider's to {max(1, abs(offset))} s", offset_s=offset)
    way = "ahead of" if offset > 0 else "behind"
    return problem(
        "idp_unreachable",
        f"This computer's clock is {abs(offset)} s {way} the provider's: tokens would look expired or not yet valid.",
        "Set this computer's clock, best by switching on network time.",
        offset_s=offset,
    )


def _date(date: str, age: str) -> float | None:
    try:
        then = parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
    return then + (int(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0)  # a cache's answer is old
