"""The demo's identity provider: `python -m acp_stdio.demo.idp`.

An OpenID provider for one machine and one run. OAuth itself is Authlib's server side (`rules`); here are its
doors: discovery, sign-in page, device page, token and revocation endpoints, and one for the administrator who
disables an account. Prints one JSON line, {"issuer": …, "admin_key": …}, when it is ready.
"""

# Authlib ships no types, so everything that comes out of it is unknown to pyright:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import argparse
import hmac
import secrets
from typing import Any

from authlib.oauth2.rfc6749 import OAuth2Error
from flask import Flask, Response, abort, jsonify, request, session
from werkzeug.serving import WSGIRequestHandler, make_server

from acp_stdio.demo import pages
from acp_stdio.demo.client import ALGORITHM, GRANT_TYPES, SCOPES, resources_in
from acp_stdio.demo.lifetime import announce, end_with_parent, loopback_socket
from acp_stdio.demo.memory import Memory
from acp_stdio.demo.people import PEOPLE
from acp_stdio.demo.rules import Rules

NO_DEVICE = "No device is waiting with this code."
WRONG = "That account and password do not match, or the account is disabled."


def metadata(issuer: str) -> dict[str, Any]:
    """RFC 8414 and OpenID Connect Discovery 1.0 in one document."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "device_authorization_endpoint": f"{issuer}/device/start",
        "revocation_endpoint": f"{issuer}/revoke",
        "jwks_uri": f"{issuer}/jwks",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "scopes_supported": list(SCOPES),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "email", "name"],
    }


def build(issuer: str, admin_key: str, access_seconds: int) -> Flask:
    """The identity provider as a WSGI app. Access tokens live `access_seconds`."""
    app = Flask("acme-idp")
    app.secret_key = secrets.token_bytes(32)
    app.config.update(
        SESSION_COOKIE_NAME="acme_idp",
        SESSION_COOKIE_SAMESITE="Lax",
        TRUSTED_HOSTS=["127.0.0.1"],  # a name that resolves to loopback is a rebinding attempt
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    memory = Memory()
    rules = Rules(app, issuer, memory, access_seconds)

    def csrf() -> str:
        return session.setdefault("csrf", secrets.token_urlsafe(24))

    def check_csrf() -> None:
        if not hmac.compare_digest(request.form.get("csrf", "").encode(), csrf().encode()):
            abort(403, "This form was not sent from the sign-in page. Go back and try again.")

    @app.after_request
    def guard(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        # No form-action: Chromium applies it to the redirect after the form too, which is the way back.
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        )
        return response

    @app.get("/.well-known/openid-configuration")
    @app.get("/.well-known/oauth-authorization-server")
    def discovery() -> Response:
        return jsonify(metadata(issuer))

    @app.get("/jwks")
    def jwks() -> Response:
        return jsonify(rules.keys.as_dict(private=False))

    @app.route("/authorize", methods=["GET", "POST"])
    def authorize() -> Any:
        with memory.lock:
            try:
                grant = rules.get_consent_grant(end_user=None)
            except OAuth2Error as error:
                if not error.redirect_uri:
                    page = pages.message("This request is not right", error.description or str(error.error))
                    return page, 400
                response = rules.handle_error_response(rules.create_oauth2_request(None), error)
                rules.names_itself.add_issuer_parameter(rules, response)
                return response
            what_for = f"{grant.client.get_client_id()} wants to act for you."
            account = request.values.get("account", request.args.get("login_hint", ""))
            if request.method == "GET":
                return pages.sign_in(what_for, csrf(), account)
            check_csrf()
            if request.form.get("answer") == "refuse":
                return rules.create_authorization_response(grant=grant, grant_user=None)
            person = memory.sign_in(account, request.form.get("password", ""))
            if person is None:
                return pages.sign_in(what_for, csrf(), account, WRONG), 403
            subject = rules.start_sign_in(person, resources_in(grant.request))
            return rules.create_authorization_response(grant=grant, grant_user=subject)

    @app.route("/device", methods=["GET", "POST"])
    def device() -> Any:
        what_for = "A program without a browser wants to act for you."
        code, account = request.values.get("user_code", ""), request.values.get("account", "")
        if request.method == "GET":
            return pages.sign_in(what_for, csrf(), account, user_code=code)
        check_csrf()
        with memory.lock:
            waiting = memory.device_of(code)
            if waiting is None or waiting.subject or waiting.refused:
                return pages.sign_in(what_for, csrf(), account, "No device is waiting with this code.", code), 400
            if request.form.get("answer") == "refuse":
                waiting.refused = True
                return pages.message("Refused", "The device was not signed in.")
            person = memory.sign_in(account, request.form.get("password", ""))
            if person is None:
                return pages.sign_in(what_for, csrf(), account, WRONG, code), 403
            waiting.subject = rules.start_sign_in(person, waiting.resources)
        return pages.message("Signed in", "Go back to your device.")

    @app.post("/device/start")
    def device_start() -> Any:
        with memory.lock:
            return rules.create_endpoint_response("device_authorization")

    @app.post("/token")
    def token() -> Any:
        with memory.lock:
            return rules.create_token_response()

    @app.post("/revoke")
    def revoke() -> Any:
        with memory.lock:
            return rules.create_endpoint_response("revocation")

    def account_for_admin() -> str:
        sent = request.headers.get("Authorization", "")
        if not hmac.compare_digest(sent.encode(), f"Bearer {admin_key}".encode()):
            abort(401)
        account = request.form.get("account", "")
        if account not in PEOPLE:
            abort(404)
        return account

    @app.post("/admin/disable")
    def disable() -> Any:
        account = account_for_admin()
        with memory.lock:
            memory.disabled.add(account)
        return jsonify({"disabled": account})

    @app.post("/admin/sign-ins")
    def sign_ins() -> Any:
        account = account_for_admin()
        with memory.lock:
            return jsonify({"live": memory.live_sign_ins(account)})

    return app


class _Quiet(WSGIRequestHandler):
    """Says nothing: a request line may hold an authorization code."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        return


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="acp_stdio.demo.idp", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--access-seconds", type=int, default=60, help="lifetime of an access token")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin closes")
    args = parser.parse_args(argv)
    listener = loopback_socket(args.port)
    issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
    admin_key = secrets.token_urlsafe(24)
    app = build(issuer, admin_key, args.access_seconds)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet, fd=listener.fileno())
    if args.until_eof:
        end_with_parent()
    announce({"issuer": issuer, "admin_key": admin_key})
    server.serve_forever()


if __name__ == "__main__":
    main()
