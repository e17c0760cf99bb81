"""A second, independent identity provider for the tests: django-oauth-toolkit on Django, on loopback.

Prints {"issuer", "client_id"} as its only line on stdout and ends when its stdin does. PKCE is required, refresh
tokens rotate, a spent one that comes again ends its whole family, access tokens cannot be read by anybody else, and
anybody may revoke what they hold. The people are alice and bob; GET /_log tells what was asked.
"""

import json
import os
import sys
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
import django_site
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
LOGIN = '<form method="post">{% csrf_token %}<input name="username"><input name="password" type="password"></form>'
CONSENT = (
    '<form method="post">{% csrf_token %}{% for field in form %}{% if field.is_hidden %}{{ field }}{% endif %}'
    '{% endfor %}<button name="allow" value="Authorize">Authorize</button></form>'
)


def configure(database: Path) -> None:
    untyped = cast("Any", settings)  # Django has no types
    untyped.configure(
        SECRET_KEY="of a test",
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database)}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        ROOT_URLCONF="django_site.urls",
        LOGIN_URL="/login",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "loaders": [
                        (
                            "django.template.loaders.locmem.Loader",
                            {"login.html": LOGIN, "oauth2_provider/authorize.html": CONSENT},
                        )
                    ]
                },
            }
        ],
        OAUTH2_PROVIDER={
            "OIDC_ENABLED": True,
            "OIDC_RSA_PRIVATE_KEY": KEY.decode(),
            "OAUTH2_VALIDATOR_CLASS": "django_site.people.Validator",
            "SCOPES": {"openid": "who you are", "email": "your address", "offline_access": "stay signed in"},
            "PKCE_REQUIRED": True,
            "ALLOWED_REDIRECT_URI_SCHEMES": ["http", "https"],
            "ACCESS_TOKEN_EXPIRE_SECONDS": 300,
            "ROTATE_REFRESH_TOKEN": True,
            "REFRESH_TOKEN_REUSE_PROTECTION": True,
        },
    )
    django.setup()


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a request line may hold a code."""


def furnish() -> str:
    """Tables, people and the client; returns its id."""
    from django.contrib.auth.models import User
    from django.core import management
    from oauth2_provider.models import get_application_model

    untyped = cast("Any", management)
    untyped.call_command("migrate", verbosity=0)
    for name in ("alice", "bob"):
        User.objects.create_user(name, f"{name}@example.com", f"{name}-password")
    clients = cast("Any", get_application_model()).objects
    clients.create(  # a server that asks whose a token is (RFC 7662)
        client_id="server",
        client_secret="the-servers-secret",
        client_type="confidential",
        authorization_grant_type="client-credentials",
    )
    client = clients.create(
        name="acp-stdio",
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris="http://127.0.0.1/callback",
        algorithm="RS256",
    )
    return str(client.client_id)


def watch_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


def main(folder: Path) -> None:
    configure(folder / "idp.sqlite3")
    client_id = furnish()
    from django.core.wsgi import get_wsgi_application

    wsgi = cast("Any", get_wsgi_application())

    def application(environ: dict[str, Any], start: Any) -> Any:
        entry = {"path": environ["PATH_INFO"], "status": 0}
        django_site.asked.append(entry)

        def begin(status: str, headers: Any, *rest: Any) -> Any:
            entry["status"] = int(status.split()[0])
            return start(status, headers, *rest)

        return wsgi(environ, begin)

    server = make_server("127.0.0.1", 0, application, server_class=Server, handler_class=Quiet)
    threading.Thread(target=watch_stdin, daemon=True).start()
    sys.stdout.write(json.dumps({"issuer": f"http://127.0.0.1:{server.server_port}/o", "client_id": client_id}) + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
