"""Reads what came back on the redirect: is it ours, is it from the right server, is it a code?"""

from collections.abc import Iterable
from typing import Final

from acp_stdio.errors import Failure
from acp_stdio.oauth.endpoint import NEEDS_PERSON
from acp_stdio.oauth.explain import explain
from acp_stdio.oauth.words import plain
from acp_stdio.secrets import Secret

_ABORTED = {
    "access_denied": "The sign-in was refused or cancelled at the identity provider",
    "login_required": "The identity provider wants the person to sign in first",
    "temporarily_unavailable": "The identity provider is not available at the moment",
    "server_error": "The identity provider had an error of its own",
}
AGAIN: Final = "Run `acp-stdio login` to try again."
UNKNOWN: Final = "Check `client_id` under [identity] with whoever runs the provider."


class UnknownClient(Failure):
    """The server does not know our client, or not any more."""


class PersonNeeded(Failure):
    """The server cannot go on without asking the person something."""


def read_code(parameters: Iterable[tuple[str, str]], *, state: str, issuer: str, iss_promised: bool) -> Secret:
    """The authorization code out of the redirect's query.

    `issuer` is the one recorded before the browser opened; `iss_promised` is the metadata's
    `authorization_response_iss_parameter_supported`. The comparison follows RFC 9207 section 2.4:
    simple strings, and before anything else in the answer is believed or shown, an error too.

    Raises `Failure`: `PersonNeeded`, `denied` for a foreign or repeated value and for a refusal by the person or
    the server, `idp_unreachable` where the server had a problem of its own.
    """
    seen: dict[str, str] = {}
    for name, value in parameters:
        if name in seen:  # RFC 6749 section 3.1: parameters must not be included more than once
            raise _foreign(f"it gave `{name if name.isidentifier() else '?'}` twice")
        seen[name] = value
    if seen.get("state") != state:
        raise _foreign("it belongs to another sign-in")
    if "iss" in seen and seen["iss"] != issuer:
        raise _foreign("it came from another identity provider than the one that was asked")
    if "iss" not in seen and iss_promised:
        raise _foreign("the identity provider promises to name itself in it (RFC 9207) and did not")
    if "error" in seen:
        raise _refused(seen["error"], seen.get("error_description", ""))
    if not seen.get("code"):
        raise _foreign("it holds neither a code nor an error")
    return Secret(seen["code"])


def _foreign(why: str) -> Failure:
    return Failure(
        "denied",
        f"The answer that the browser brought was not used: {why}.",
        "Sign in again; if it happens again, tell whoever runs the identity provider.",
    )


def _refused(error: str, description: str) -> Failure:
    known = explain(plain(error), plain(description))
    what = _ABORTED.get(error, "The identity provider did not accept the request")
    said = plain(f"{error}: {description}" if description else error)
    if error in ("invalid_client", "unauthorized_client"):
        message, advice = (known.message, known.advice) if known else (f"{what} ({said}).", UNKNOWN)
        return UnknownClient("configuration_invalid", message, advice)
    if known is not None:
        return known
    if error in NEEDS_PERSON:
        return PersonNeeded("denied", f"{what} ({said}).", AGAIN)
    theirs = error in ("server_error", "temporarily_unavailable")
    return Failure(
        "idp_unreachable" if theirs else "denied",
        f"{what} ({said}).",
        "Try again in a minute." if theirs else AGAIN,
    )
