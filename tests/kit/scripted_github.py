"""GitHub by script, as a GitHub App with expiring user tokens meets it.

docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app: generating-a-user-access-token-for-a-
github-app (JSON only when asked for, `client_secret` in the web flow, no scopes, errors with status 200),
refreshing-user-access-tokens ("the new tokens replace the old", `bad_refresh_token`); rest/users/users (GET /user).
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

from tests.kit.scripted_idp import Form, Refused, ScriptedIdp

_PATHS = {
    "/login/oauth/authorize": "/login/oauth/authorize",
    "/login/oauth/access_token": "/login/oauth/token",
    "/login/device/code": "/login/oauth/devicecode",
}


@dataclass
class GithubIdp(ScriptedIdp):
    """A company's own GitHub, whose API is below /api/v3."""

    client_id: str = "Iv23liAAAABBBBCCCC"
    access_ttl: int = 28800
    secret: str = "the-apps-client-secret"
    metadata_paths: tuple[str, ...] = ()
    endpoints: str = "/login/oauth"
    ids: dict[str, int] = field(default_factory=lambda: {"alice": 1001, "bob": 1002})
    living: dict[str, str] = field(default_factory=dict[str, str])
    """Access tokens that work, and whose they are."""

    @property
    def issuer(self) -> str:
        return f"{self.origin}/login/oauth"

    def metadata(self) -> dict[str, Any]:
        return {}

    def answer(self, method: str, path: str, form: Form) -> tuple[int, dict[str, Any] | str]:
        if path == "/api/v3/user":
            self.requests.append(("/user", {}))
            user = self.living.get(form.get("access_token", ""))
            if user is None:
                return 401, {"message": "Bad credentials"}
            return 200, {"login": user, "id": self.ids[user], "name": None, "email": None}
        status, document = super().answer(method, _PATHS.get(path, "/nowhere"), form)
        return (200 if isinstance(document, dict) and "error" in document else status), document

    def check_request(self, form: Form) -> None:
        if (
            form.get("grant_type") in ("authorization_code", "refresh_token")
            and form.get("client_secret") != self.secret
        ):
            raise Refused("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")

    def _token(self, form: Form) -> dict[str, Any]:
        try:
            return super()._token(form)
        except Refused as refused:
            if refused.document["error"] != "invalid_grant":
                raise
            refreshing = form.get("grant_type") == "refresh_token"
            words = "bad_refresh_token" if refreshing else "bad_verification_code"
            raise Refused(words, "The token or code passed is incorrect or expired.") from None

    def access_token(self, user: str, form: Form) -> str:
        """Whoever had one before has none any more."""
        token = f"ghu_{secrets.token_urlsafe(27)}"
        self.living = {each: whose for each, whose in self.living.items() if whose != user} | {token: user}
        self.issued.append(token)
        return token

    def besides(self, scopes: tuple[str, ...], form: Form) -> dict[str, Any]:
        """refreshing-user-access-tokens: six months."""
        return {"refresh_token_expires_in": 15897600}

    def keeps(self, scopes: tuple[str, ...], form: Form) -> bool:
        return True

    def identifies(self, scopes: tuple[str, ...], form: Form) -> bool:
        return False
