"""Authorization code with PKCE, through the person's own browser (RFC 8252, RFC 7636, RFC 9700)."""

import hmac
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from acp_stdio.errors import Failure
from acp_stdio.login import pages
from acp_stdio.login.answer import PersonNeeded, UnknownClient, read_code
from acp_stdio.login.client import InteractiveClient, random_token
from acp_stdio.login.loopback import Loopback, Taken
from acp_stdio.login.opener import Opener, safe_url
from acp_stdio.login.wanted import Wanted
from acp_stdio.oauth.endpoint import TokenError, TokenResponse
from acp_stdio.oauth.explain import explain
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.secrets import Secret

Ask = Callable[[str], str]
"""Asks the person for one line on the terminal, without showing what they type."""
Talk = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BrowserChoices:
    """How the person wants the browser flow."""

    redirect: str
    timeout: float
    """Seconds to wait for the person."""
    opener: Opener | None
    """None: print the address only."""
    paste: Ask | None = None
    """Given: the person copies the final address by hand, for a browser on another computer."""
    account_hint: str = ""
    prompt: str | None = None
    silent: bool = False
    """First with `prompt=none` (OpenID Connect Core section 3.1.2.1): nobody is asked anything where the provider can
    go on by itself; where it cannot, the same tab goes on to its page. Not with `paste`: no tab of that can be led."""
    extra: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parameters of the provider's own."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A token response and the nonce that its ID token must carry (None: none was sent)."""

    response: TokenResponse
    nonce: str | None
    asked_at: float
    """Epoch seconds at which it was asked for: its lifetimes count from there."""


@contextmanager
def browser_grant(
    server: AuthorizationServer,
    client_for: Callable[[str], InteractiveClient],
    wanted: Wanted,
    choices: BrowserChoices,
    talk: Talk,
) -> Generator[tuple[Granted, Callable[[str], None]]]:
    """Gets a grant; the body stores it and calls `succeed(label)`.

    The browser waits meanwhile: the first page that it is given is the one it sees, success after
    `succeed`, else the failure that left the body. The port is closed at the end, whatever happened.
    `client_for` is given the redirect address, which is known once the port is ours.

    Raises `Failure`: denied, timeout, idp_unreachable, configuration_invalid (`answer.UnknownClient`).
    """
    silent = choices.silent and choices.paste is None
    asked = _Asked()
    with Loopback(choices.redirect, asked.state) as loopback:
        client = client_for(loopback.redirect_uri)

        def lead() -> str:
            """Where the browser goes; checked before anything is told about it, and once more by the opener."""
            prompt = "none" if silent else choices.prompt
            url = safe_url(
                client.authorization_url(
                    redirect_uri=loopback.redirect_uri,
                    state=asked.state,
                    verifier=asked.verifier,
                    parameters=_parameters(wanted, choices, prompt, asked.nonce),
                )
            )
            loopback.lead_to(url)
            return url

        def read(taken: Taken) -> Secret:
            promised = server.iss_parameter_supported
            return read_code(taken.parameters, state=asked.state, issuer=server.issuer, iss_promised=promised)

        url = lead()
        taken = _by_hand(url, loopback, choices, talk) if choices.paste else _by_browser(loopback, choices, talk)
        try:
            try:
                code = read(taken)
            except PersonNeeded:
                if not silent:
                    raise
                silent, asked = False, _Asked()
                loopback.again(asked.state)
                taken.send_on(lead())
                taken = _wait(loopback, choices)
                code = read(taken)
            asked_at = time.time()
            response = client.exchange(
                code, redirect_uri=loopback.redirect_uri, verifier=asked.verifier, parameters=wanted.first_token
            )
            yield Granted(response, asked.nonce, asked_at), lambda label: taken.show(pages.signed_in(label))
        except Failure as failure:
            taken.show(pages.failed(failure.message, failure.advice))
            raise
        except TokenError as error:
            failure = _not_exchanged(error)
            taken.show(pages.failed(failure.message, failure.advice))
            raise failure from None
        except BaseException:
            taken.show(pages.failed("The sign-in was interrupted.", "Run `acp-stdio login` to try again."))
            raise
        taken.show(pages.failed("The sign-in was not completed.", "Run `acp-stdio login` to try again."))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one authorization request is told apart by; each has its own."""

    state: str = field(default_factory=random_token)
    nonce: str = field(default_factory=random_token)
    verifier: Secret = field(default_factory=lambda: Secret(random_token(380)))


def _parameters(
    wanted: Wanted, choices: BrowserChoices, prompt: str | None, nonce: str
) -> dict[str, str | tuple[str, ...]]:
    optional = {
        "scope": " ".join(wanted.scopes),
        "login_hint": choices.account_hint,
        "prompt": prompt or "",
    }
    return {
        "nonce": nonce,
        **choices.extra,
        **wanted.audiences,
        **{name: value for name, value in optional.items() if value},
    }


def _by_browser(loopback: Loopback, choices: BrowserChoices, talk: Talk) -> Taken:
    opening = choices.opener is not None
    first = "Opening the sign-in page in your browser. If nothing opens, go to" if opening else "Open this to sign in:"
    talk(f"{first}\n\n  {loopback.start_url}\n")
    if opening:
        # Beside the waiting: some launchers end at once, others with the browser.
        threading.Thread(target=_open, args=(loopback.start_url, choices, talk), daemon=True, name="opener").start()
    return _wait(loopback, choices)


def _wait(loopback: Loopback, choices: BrowserChoices) -> Taken:
    taken = loopback.wait(choices.timeout)
    if taken is None:
        raise Failure(
            "timeout",
            f"Nobody finished the sign-in page within {choices.timeout:.0f} seconds.",
            "Run `acp-stdio login` to try again.",
        )
    return taken


def _open(url: str, choices: BrowserChoices, talk: Talk) -> None:
    if choices.opener is not None and not choices.opener(url):
        talk("No browser could be started here. For one on another computer, use `login --paste` or `--device`.")


def _by_hand(url: str, loopback: Loopback, choices: BrowserChoices, talk: Talk) -> Taken:
    talk(f"Open this address to sign in, in a browser on any computer:\n\n  {url}\n")
    talk("At the end the browser shows a page that it cannot load. Copy its whole address from the address bar.")
    assert choices.paste is not None
    pasted = urlsplit(choices.paste("Paste it here (it is not shown): ").strip())
    expected = urlsplit(loopback.redirect_uri)
    if not hmac.compare_digest(
        (pasted.netloc + (pasted.path or "/")).encode(), (expected.netloc + (expected.path or "/")).encode()
    ):
        raise Failure(
            "denied",
            "That is not the address that the sign-in ends at.",
            f"Copy the one that begins with {loopback.redirect_uri}",
        )
    return Taken(parse_qsl(pasted.query, keep_blank_values=True))


def _not_exchanged(error: TokenError) -> Failure:
    if error.kind == "invalid_grant" and explain(error.error, error.description) is None:
        return Failure(
            "denied",
            f"{error.message} The code that the browser brought was not accepted.",
            "Run `acp-stdio login` to try again.",
        )
    if error.error == "invalid_client":
        known = error.failure()
        return UnknownClient("configuration_invalid", known.message, known.advice)
    return error.failure()
