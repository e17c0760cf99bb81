"""Which client a sign-in uses: the configured one, our metadata document, or a registration (RFC 7591)."""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2

from acp_stdio.login.loopback import Redirect
from acp_stdio.oauth.client import Client
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.oauth.registration import Registration, is_known, register
from acp_stdio.tokens.clients import configured_client
from acp_stdio.tokens.context import Context


class Chooser:
    """Chooses the client at one server, in the order of the MCP authorization specification."""

    def __init__(
        self, ctx: Context, server: AuthorizationServer, http: httpx2.Client, talk: Callable[[str], None]
    ) -> None:
        """Asks the server whether it still knows a stored registration, and forgets it otherwise.

        Raises `Failure`: configuration_invalid, keyring_locked.
        """
        self._store, self._server, self._http, self._talk = ctx.registrations, server, http, talk
        self._fixed = configured_client(ctx.settings.identity, server, may_prompt=ctx.may_prompt)
        self._stored = None if self._fixed else self._still_known()
        self._used = ""

    def redirect(self, wanted: str) -> str:
        """`wanted`, with the port in front that is registered already, where any is free to be chosen."""
        address = Redirect.parse(wanted)
        if self._stored is None or 0 not in address.ports:
            return wanted
        for uri in self._stored.redirect_uris:
            known = urlsplit(uri)
            if (known.hostname, known.path) == (address.host, address.path) and known.port:
                host = f"[{address.host}]" if ":" in address.host else address.host
                ports = ",".join(map(str, (known.port, *address.ports)))
                return f"http://{host}:{ports}{address.path}"
        return wanted

    def choose(self, redirect_uri: str | None) -> Client:
        """The client for a sign-in that ends at `redirect_uri`; None: with a device code.

        Registers where that is needed. Raises `Failure`: configuration_invalid, idp_unreachable, keyring_locked.
        """
        if self._fixed is not None:
            return self._fixed
        if self._stored is None or not self._stored.serves(redirect_uri, time.time()):
            self._stored = register(self._server, self._http, redirect_uri)
            self._store.save(self._stored)
        self._used = self._stored.client_id
        return self._stored.client

    def forget(self) -> bool:
        """Drops the registration that was used, which the server does not know; False: there was none."""
        used, self._stored, self._used = self._used, None, ""
        if used:
            self._store.drop(self._server.issuer, used)
            self._talk(f"{self._server.issuer} has forgotten this program, so it is registered anew.")
        return bool(used)

    def _still_known(self) -> Registration | None:
        registration = self._store.load(self._server.issuer)
        if registration is None or is_known(self._server, self._http, registration.client):
            return registration
        self._used = registration.client_id
        self.forget()
        return None
