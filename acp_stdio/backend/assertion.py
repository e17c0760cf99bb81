"""Verifies `ACP-Assertion`: which computer's key says that this agent asks for this, with this token, now.

It proves what the holder of an enrolled key said beside a valid token of the person. Who the agent is stays as
certain as `act.evidence` says; and whoever runs programs as that person on that computer can sign too.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import jwt

from acp_stdio.backend.body import Asked
from acp_stdio.backend.caller import Caller
from acp_stdio.backend.refusals import KeysUnavailable, Refused
from acp_stdio.identity.signed import NotProven, audiences, check_times, media_type, shown
from acp_stdio.identity.statement import KIND, LIFETIME, NO_PARAMS, digest
from acp_stdio.identity.thumbprint import thumbprint
from acp_stdio.wire.canonical import canonical

MAX_ASSERTION: Final = 8 * 1024


class InvalidAssertion(Refused):
    """Missing, forged, used twice, or about something else: 403. The token itself was good."""


class AssertionVerifier:
    """Takes statements of enrolled computers only. Keep it: it remembers which it has seen. Safe in threads."""

    def __init__(
        self,
        enrolled: Path | str,
        *,
        leeway: float = 30.0,
        remembered: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`enrolled`: a file with a JWK Set (RFC 7517) or one JWK, or a folder of such `*.json` files, one for each
        `device-key.json` that was collected. Read again when it changes.

        `remembered`: statements that are kept until they expire, so that none is taken twice; above it everything is
        refused with 503, and a service with several processes needs a `BearerAuth` before all of them.
        """
        self._enrolled = Enrolled(Path(enrolled))
        self._leeway = leeway
        self._remembered = remembered
        self._clock = clock
        self._seen: dict[tuple[str, str, str], float] = {}
        self._lock = threading.Lock()

    def verify(self, assertion: str, *, token: str, caller: Caller, asked: Asked, request_id: str) -> dict[str, Any]:
        """What it says, proven to be about this request. `request_id`: the `X-Request-Id` header.

        Raises `InvalidAssertion`, `KeysUnavailable`.
        """
        try:
            said = self._signed(assertion)
            self._check_life(said)
            self._check_binding(said, token, caller, asked, request_id)
        except NotProven as error:
            raise InvalidAssertion(f"the assertion was not taken: {error.why}") from None
        self._once(said)
        return said

    def _signed(self, assertion: str) -> dict[str, Any]:
        if not assertion or len(assertion) > MAX_ASSERTION:
            raise NotProven("there is none" if not assertion else "it is too long")
        try:
            header = jwt.get_unverified_header(assertion)
            if media_type(header) != KIND or header.get("alg") != "ES256":
                raise NotProven(f"it is a {shown(header.get('typ'))} with {shown(header.get('alg'))}")
            key = self._enrolled.key(str(header.get("kid")))
            options: Any = {"require": ["iss", "sub", "jti", "iat", "exp"], "verify_exp": False, "verify_aud": False,
                            "verify_iat": False}  # fmt: skip
            said: dict[str, Any] = jwt.decode(assertion, key, algorithms=["ES256"], options=options)
        except jwt.PyJWTError:
            raise NotProven("its signature does not hold") from None
        if said["iss"] != header["kid"]:
            raise NotProven("another key signed it than it names")
        return said

    def _check_life(self, said: Mapping[str, Any]) -> None:
        check_times(said, self._clock(), self._leeway)
        if said["exp"] - said["iat"] > LIFETIME:
            raise NotProven(f"it lives longer than {LIFETIME} s")

    def _check_binding(
        self, said: Mapping[str, Any], token: str, caller: Caller, asked: Asked, request_id: str
    ) -> None:
        expected = {
            "ath": digest(token.encode()),
            "token_iss": caller.claims.get("iss"),
            "sub": caller.claims.get("sub"),
            "method": asked.method,
            "tool": asked.tool,
            "args_digest": digest(canonical(asked.raw_params) if asked.raw_params else NO_PARAMS),
            "jti": request_id,
        }
        for name, value in expected.items():
            if said.get(name, "") != value or (name == "jti" and not value):
                raise NotProven(f"it is about another request ({name})")
        if set(audiences(said)) != set(audiences(caller.claims)):
            raise NotProven("it is about another request (aud)")

    def _once(self, said: Mapping[str, Any]) -> None:
        """A repetition of a request after a 401 has another token, and so another `ath`."""
        now, name = self._clock(), (said["iss"], said["jti"], said["ath"])
        with self._lock:
            if len(self._seen) >= self._remembered:
                self._seen = {each: until for each, until in self._seen.items() if until > now}
            if name in self._seen:
                raise InvalidAssertion("the assertion was not taken: it was seen before")
            if len(self._seen) >= self._remembered:
                raise KeysUnavailable("more statements a minute than can be remembered")
            self._seen[name] = said["exp"] + self._leeway


class Enrolled:
    """The public keys of the company's computers, by the URI of their thumbprint (RFC 9278)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[tuple[str, int, int], ...] | None = None
        self._keys: dict[str, jwt.PyJWK] = {}

    def key(self, name: str) -> jwt.PyJWK:
        """Raises `NotProven` where it is not enrolled, `KeysUnavailable` where the file cannot be read."""
        try:
            files = sorted(self._path.glob("*.json")) if self._path.is_dir() else [self._path]
            stamp = tuple((str(file), (facts := file.stat()).st_mtime_ns, facts.st_size) for file in files)
            if stamp != self._stamp:
                self._keys, self._stamp = self._read(files), stamp
        except (OSError, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
            raise KeysUnavailable(f"the enrolled keys in {self._path} cannot be read: {error}") from None
        if name not in self._keys:
            raise NotProven(f"its key is not enrolled ({shown(name)})")
        return self._keys[name]

    @staticmethod
    def _read(files: list[Path]) -> dict[str, jwt.PyJWK]:
        found: dict[str, jwt.PyJWK] = {}
        for file in files:
            document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            for jwk in cast("list[dict[str, Any]]", document.get("keys", [document])):
                found[thumbprint(jwk)] = jwt.PyJWK(jwk, algorithm="ES256")  # the name is ours, not the file's
        return found
