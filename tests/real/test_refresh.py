"""The token helper as `run` starts it, against a strict, certified OpenID provider that ends a grant on reuse."""

import base64
import contextlib
import hashlib
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

import acp_stdio
from acp_stdio.errors import Failure
from acp_stdio.identity.claims import ClaimNames, account_from_claims, verify_id_token
from acp_stdio.identity.model import AccessToken, Session
from acp_stdio.oauth import endpoint, keys, metadata, presets
from acp_stdio.oauth.endpoint import TokenError
from acp_stdio.oauth.http import open_client
from acp_stdio.secrets import Secret
from acp_stdio.settings.load import load
from acp_stdio.settings.model import NetworkSettings, Settings
from acp_stdio.tokens.context import Context, open_context
from acp_stdio.tokens.logout import sign_out
from acp_stdio.tokens.messages import Request, Sent, decode_answer, encode_request, fingerprint
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.tokens.store_login import store_grant
from tests.kit import leaks
from tests.kit.human import sign_in
from tests.kit.oidc_provider import CLIENT_ID, OidcProvider, oidc_provider

pytestmark = pytest.mark.real

RESOURCE = "http://127.0.0.1:9/mcp"
REDIRECT = "http://127.0.0.1:9/callback"
PATIENCE = 60.0
"""Seconds; a bound for a busy machine, not an expectation."""
SOURCE = Path(acp_stdio.__file__).parents[1]


class Helper:
    """One `acp-stdio token-helper` in the reduced environment that a host passes on."""

    def __init__(self, profile: "Profile", rejected: str | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "acp_stdio", "token-helper"],
            env={
                "PATH": os.environ.get("PATH", ""),
                "PYTHONPATH": str(SOURCE),
                "ACP_STDIO_HOME": str(profile.home),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=profile.log,
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[AccessToken | Failure | Sent | None] = queue.SimpleQueue()
        assert self.process.stdin is not None
        self.process.stdin.write(encode_request(Request(str(profile.config), "", (), "finance", rejected)))
        self.process.stdin.flush()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(decode_answer(line))
        self._answers.put(None)

    def next(self) -> AccessToken | Failure | Sent | None:
        """The next answer; None for the end of stdout."""
        return self._answers.get(timeout=PATIENCE)

    def until_sent(self) -> None:
        assert self.next() == Sent()

    def end(self) -> AccessToken | Failure | None:
        """Its last word."""
        answer = self.next()
        return self.next_but_sent() if isinstance(answer, Sent) else answer

    def next_but_sent(self) -> AccessToken | Failure | None:
        answer = self.next()
        assert not isinstance(answer, Sent)
        return answer

    def token(self) -> AccessToken:
        answer = self.end()
        assert isinstance(answer, AccessToken), answer.message if answer else "no answer"
        assert self.process.wait(PATIENCE) == 0
        return answer

    def failure(self) -> Failure:
        answer = self.end()
        assert isinstance(answer, Failure)
        assert self.process.wait(PATIENCE) == 0
        return answer

    def hang_up(self) -> None:
        """What the end of `run` looks like from here."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


class Profile:
    """One person's machine: a configuration, an encrypted file vault, a state directory."""

    def __init__(self, home: Path, provider: OidcProvider) -> None:
        self.home = home
        self.provider = provider
        self.log = (home / "helper.err").open("wb")
        key = home / "vault.key"
        key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
        key.chmod(0o600)
        self.config = home / "config.toml"
        self.write_config()
        self._helpers: list[Helper] = []

    def write_config(self, upstream: str = "") -> None:
        self.config.write_text(
            f'version = 1\n[identity]\nissuer = "{self.provider.issuer}"\nclient_id = "{CLIENT_ID}"\n'
            f'[upstreams.finance]\nurl = "{RESOURCE}"\n{upstream}\n'
            f'[storage]\nbackend = "file"\nkey_file = "{self.home / "vault.key"}"\n'
        )

    @property
    def settings(self) -> Settings:
        return load(config=self.config, environ={"ACP_STDIO_HOME": str(self.home)})

    @property
    def context(self) -> Context:
        return open_context(self.settings, may_prompt=False)

    def login(self, user: str = "alice") -> Session:
        """Signs in with the code flow and stores it as `login` does."""
        with open_client(NetworkSettings()) as client:
            server = metadata.discover(self.provider.issuer, presets.GENERIC, client)
            verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
            query = {
                "response_type": "code",
                "client_id": CLIENT_ID,
                "redirect_uri": REDIRECT,
                "scope": "openid offline_access finance.read",
                "resource": RESOURCE,
                "prompt": "consent",
                "nonce": nonce,
                "code_challenge": challenge.decode(),
                "code_challenge_method": "S256",
            }
            page = sign_in(f"{server.authorization_endpoint}?{urlencode(query)}", user, stop_at=REDIRECT)
            form = {
                "grant_type": "authorization_code",
                "client_id": CLIENT_ID,
                "redirect_uri": REDIRECT,
                "code": parse_qs(urlsplit(page.url).query)["code"][0],
                "code_verifier": verifier,
                "resource": RESOURCE,
            }
            response = endpoint.request_token(server, client, form)
            assert response.id_token is not None
            claims = verify_id_token(
                response.id_token,
                keys=keys.signing_keys(server.jwks_uri, client, response.id_token),
                issuers=server.token_issuers,
                client_id=CLIENT_ID,
                nonce=nonce,
                now=time.time(),
                leeway=60.0,
            )
        account = account_from_claims(claims, ClaimNames())
        return store_grant(self.context, response, account, {"finance": RESOURCE}, ["openid"])

    def helper(self, rejected: str | None = None) -> Helper:
        helper = Helper(self, rejected)
        self._helpers.append(helper)
        return helper

    def session(self) -> Session:
        session = SessionFile(self.settings.state_dir).read()
        assert session is not None
        return session

    def stored(self) -> Secret | None:
        grant = self.context.vault.load()
        return grant.refresh_token if grant else None

    def token_requests(self) -> list[int]:
        """The status of each token request so far; 0 where it was not answered (yet)."""
        return [entry["status"] for entry in self.provider.log() if entry["path"] == "/token"]

    def spent(self, token: Secret) -> bool:
        """Whether the provider refuses `token` as a refresh token."""
        with open_client(NetworkSettings()) as client:
            server = metadata.discover(self.provider.issuer, presets.GENERIC, client)
            params = {"resource": RESOURCE}
            try:
                endpoint.refresh(server, client, client_id=CLIENT_ID, refresh_token=token, params=params)
            except TokenError as error:
                return error.kind == "invalid_grant"
        return False

    def close(self) -> None:
        for helper in self._helpers:
            if helper.process.poll() is None:
                helper.kill()
            for pipe in (helper.process.stdin, helper.process.stdout):
                with contextlib.suppress(OSError):
                    if pipe:
                        pipe.close()
        self.log.close()


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with oidc_provider(resources=[RESOURCE]) as running:
        yield running


@pytest.fixture
def profile(tmp_path: Path, provider: OidcProvider) -> Generator[Profile]:
    profile = Profile(tmp_path, provider)
    profile.login()
    yield profile
    profile.close()
    if provider.process.poll() is None:
        leaks.remember(*provider.issued())
        assert leaks.scan(provider.issued(), tmp_path) == []


def eventually(what: str, look: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < until, f"waited in vain until {what}"
        time.sleep(0.02)


def test_a_helper_brings_a_proven_token_and_stores_its_successor(profile: Profile) -> None:
    before = profile.stored()
    token = profile.helper().token()
    assert (token.upstream, token.origin) == ("finance", "http://127.0.0.1:9")
    assert token.claims["aud"] == RESOURCE
    assert token.claims["sub"] == "alice"
    assert token.generation == profile.session().generation
    assert profile.session().access_ttl == 300.0
    assert profile.session().in_flight_since == 0.0
    assert profile.stored() not in (None, before)


def test_two_helpers_at_the_same_moment_both_get_a_token_and_the_session_lives(profile: Profile) -> None:
    discovery = "/.well-known/oauth-authorization-server"
    seen = len([entry for entry in profile.provider.log() if entry["path"] == discovery])
    profile.provider.fault(discovery, "hold", times=2)
    with profile.context.renewing(PATIENCE):
        pair = profile.helper(), profile.helper()

        def both_ask() -> bool:
            return len([e for e in profile.provider.log() if e["path"] == discovery]) == seen + 2

        eventually("both helpers read the metadata", both_ask)
        profile.provider.release()
        assert profile.token_requests() == [200], "the login's; nobody passes the lock"
    tokens = [helper.token() for helper in pair]
    assert tokens[0].value != tokens[1].value
    assert profile.token_requests() == [200, 200, 200], "no refresh token was used twice"
    assert profile.helper().token().generation == profile.session().generation


def test_many_helpers_with_one_login_never_use_a_refresh_token_twice(profile: Profile) -> None:
    helpers = [profile.helper() for _ in range(5)]
    assert len({helper.token().value for helper in helpers}) == 5
    assert profile.token_requests() == [200] * 6
    assert profile.session().signed_in


def test_a_rejected_token_is_replaced(profile: Profile) -> None:
    first = profile.helper().token()
    second = profile.helper(rejected=fingerprint(first.value)).token()
    assert second.value != first.value


def test_a_person_disabled_at_the_idp_is_out_with_one_refresh(profile: Profile) -> None:
    generation = profile.session().generation
    profile.provider.disable("alice")
    failure = profile.helper().failure()
    assert failure.reason == "login_required"
    assert "ended your sign-in" in failure.message
    session = profile.session()
    assert (session.signed_in, session.ended_because) == (False, "revoked")
    assert session.generation > generation
    assert profile.stored() is None
    requests = profile.token_requests()
    assert profile.helper().failure().reason == "login_required"
    assert profile.token_requests() == requests, "the next one does not even ask"


def test_an_answer_lost_at_a_strict_idp_is_told_as_what_it_is(profile: Profile) -> None:
    profile.provider.fault("/token", "drop-after")
    failure = profile.helper().failure()
    assert failure.reason == "login_required"
    assert "the connection broke while your sign-in was being renewed" in failure.message
    assert profile.session().ended_because == "interrupted"
    profile.login()
    assert profile.helper().token()


def test_a_request_lost_on_its_way_is_repeated_at_once(profile: Profile) -> None:
    profile.provider.fault("/token", "drop-before")
    assert profile.helper().token()
    assert profile.session().signed_in


def test_an_idp_with_a_problem_of_its_own_signs_nobody_out(profile: Profile) -> None:
    before = profile.stored()
    profile.provider.fault("/token", "503")
    failure = profile.helper().failure()
    assert failure.reason == "idp_unreachable"
    assert "You stay signed in" in failure.message
    assert profile.stored() == before
    assert profile.helper().token()


def test_an_idp_that_is_gone_signs_nobody_out(profile: Profile) -> None:
    profile.helper().token()
    before = profile.stored()
    leaks.remember(*profile.provider.issued())
    profile.provider.stop()
    assert profile.helper().failure().reason == "idp_unreachable"
    assert profile.session().signed_in
    assert profile.session().in_flight_since == 0.0
    assert profile.stored() == before


def test_a_token_for_another_audience_is_not_handed_out(profile: Profile) -> None:
    profile.write_config('audience = "https://elsewhere.example.com/mcp"')
    failure = profile.helper().failure()
    assert failure.reason == "wrong_audience"
    assert profile.session().signed_in
    profile.write_config()
    assert profile.helper().token()


def test_a_helper_killed_while_it_waits_costs_nothing(profile: Profile) -> None:
    with profile.context.renewing(PATIENCE):
        helper = profile.helper()
        eventually("it is on its way", lambda: len(profile.provider.log()) > 0)
        helper.kill()
    assert profile.helper().token()


def test_a_helper_killed_before_the_idp_acts_costs_nothing(profile: Profile) -> None:
    profile.provider.fault("/token", "hold")
    helper = profile.helper()
    helper.until_sent()
    eventually("the request is there", lambda: profile.token_requests() == [200, 0])
    helper.kill()
    assert profile.session().in_flight_since > 0
    assert profile.helper().token()
    assert profile.session().in_flight_since == 0.0


def test_a_helper_killed_between_rotation_and_saving_loses_the_session_and_says_so(profile: Profile) -> None:
    profile.provider.fault("/token", "hold")
    helper = profile.helper()
    helper.until_sent()
    eventually("the request is there", lambda: profile.token_requests() == [200, 0])
    os.kill(helper.process.pid, signal.SIGSTOP)  # so that the answer comes and is not read
    profile.provider.release()
    eventually("the provider has answered", lambda: profile.token_requests() == [200, 200])
    helper.kill()
    failure = profile.helper().failure()
    assert failure.reason == "login_required"
    assert "the connection broke while your sign-in was being renewed" in failure.message


def test_a_helper_killed_after_saving_costs_nothing(profile: Profile) -> None:
    before = profile.stored()
    profile.provider.fault("/token", "hold")
    helper = profile.helper()
    helper.until_sent()
    eventually("the request is there", lambda: profile.token_requests() == [200, 0])
    with profile.context.session.lock():
        profile.provider.release()
        eventually("the successor is stored", lambda: profile.stored() != before)
        helper.kill()
    assert profile.session().in_flight_since > 0
    assert profile.helper().token()
    assert profile.session().in_flight_since == 0.0


def test_a_helper_whose_stdin_ends_before_sending_spends_nothing(profile: Profile) -> None:
    with profile.context.renewing(PATIENCE):
        helper = profile.helper()
        helper.hang_up()
        assert helper.next() is None, "no answer for nobody"
        assert helper.process.wait(PATIENCE) == 0
    assert profile.token_requests() == [200]
    assert profile.session().in_flight_since == 0.0


def test_a_helper_whose_stdin_ends_after_sending_stores_the_answer(profile: Profile) -> None:
    before = profile.stored()
    profile.provider.fault("/token", "hold")
    helper = profile.helper()
    helper.until_sent()
    eventually("the request is there", lambda: profile.token_requests() == [200, 0])
    helper.hang_up()
    profile.provider.release()
    assert helper.process.wait(PATIENCE) == 0
    assert profile.stored() != before
    assert profile.helper().token()


def test_a_logout_during_a_refresh_wins_and_nothing_of_it_lives_on(profile: Profile) -> None:
    profile.provider.fault("/token", "hold")
    helper = profile.helper()
    helper.until_sent()
    eventually("the request is there", lambda: profile.token_requests() == [200, 0])
    with ThreadPoolExecutor(1) as pool:
        logout = pool.submit(sign_out, profile.context)
        eventually("the tombstone stands", lambda: not profile.session().signed_in)
        assert not logout.done(), "it waits for the successor, to revoke that one"
        profile.provider.release()
        report = logout.result(PATIENCE)
    failure = helper.failure()
    assert (failure.reason, failure.message) == ("login_required", "You signed out.")
    assert (report.revocation, report.deleted, report.problems) == ("revoked", True, ())
    assert profile.stored() is None
    assert profile.spent(last_refresh_token(profile.provider))


def test_a_refresh_that_waits_behind_a_logout_is_refused(profile: Profile) -> None:
    discovery = "/.well-known/oauth-authorization-server"
    profile.provider.fault(discovery, "hold")
    seen = len(profile.provider.log())
    helper = profile.helper()
    eventually("it reads the metadata", lambda: len(profile.provider.log()) > seen)
    with ThreadPoolExecutor(1) as pool:
        logout = pool.submit(sign_out, profile.context)
        assert logout.result(PATIENCE).revocation == "revoked"
    profile.provider.release()
    assert helper.failure().message == "You signed out."
    assert profile.token_requests() == [200]


def test_a_logout_revokes_at_the_idp_and_wipes_this_machine(profile: Profile) -> None:
    profile.helper().token()
    token = profile.stored()
    assert token is not None
    assert profile.settings.cache_dir.exists()
    report = sign_out(profile.context)
    assert (report.revocation, report.deleted, report.problems) == ("revoked", True, ())
    assert report.account is not None
    assert report.account.label == "alice@example.com"
    assert report.access_until > time.time()
    assert profile.spent(token)
    assert not profile.settings.cache_dir.exists()
    again = sign_out(profile.context)
    assert (again.was_signed_in, again.revocation, again.problems) == (False, "nothing", ())


def test_a_new_login_revokes_the_one_that_it_replaces(profile: Profile) -> None:
    old = profile.stored()
    assert old is not None
    profile.login("bob")
    assert profile.session().account is not None
    assert profile.spent(old)
    assert profile.helper().token().claims["sub"] == "bob"


def last_refresh_token(provider: OidcProvider) -> Secret:
    # A JWT has dots; of what is left the provider's refresh tokens are what came with the last answer.
    return Secret([value for value in provider.issued() if "." not in value][-1])
