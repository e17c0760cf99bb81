"""How we prove that we are the client which a sign-in belongs to: by whatever secret that client has."""

from pathlib import Path

from acp_stdio.errors import Failure
from acp_stdio.oauth.client import Client, Credential, method_with_secret
from acp_stdio.oauth.metadata import AuthorizationServer
from acp_stdio.secrets import Secret
from acp_stdio.settings.model import IdentitySettings
from acp_stdio.tokens.registrations import Registrations

_MOST = 16_384
"""Bytes of a secret's file."""


def configured_client(identity: IdentitySettings, server: AuthorizationServer, *, may_prompt: bool) -> Client | None:
    """The client that the settings name for `server`; None where they name none.

    Raises `Failure`: configuration_invalid where its secret cannot be read, keyring_locked.
    """
    if identity.client_id:
        return Client(identity.client_id, "configured", _configured(identity, server, may_prompt=may_prompt))
    if identity.client_metadata_url and server.client_documents:
        return Client(identity.client_metadata_url, "metadata document")
    return None


def credential_of(
    client_id: str,
    identity: IdentitySettings,
    server: AuthorizationServer,
    *,
    registrations: Registrations,
    may_prompt: bool,
) -> Credential | None:
    """What `client_id` proves itself with at `server`; None for a public client. Raises as `configured_client`."""
    if client_id == identity.client_id:
        return _configured(identity, server, may_prompt=may_prompt)
    if client_id != registrations.client_id(server.issuer):
        return None
    registration = registrations.load(server.issuer)
    return registration.credential if registration and registration.client_id == client_id else None


def _configured(identity: IdentitySettings, server: AuthorizationServer, *, may_prompt: bool) -> Credential | None:
    # A secret is for the issuer that the settings name beside it; a grant from before may be another's.
    if not identity.client_secret_ref or identity.issuer != server.issuer:
        return None
    method = method_with_secret(server.issuer, server.auth_methods)
    return Credential(read_secret(identity.client_secret_ref, may_prompt=may_prompt), method)


def read_secret(place: str, *, may_prompt: bool) -> Secret:
    """The secret at `keyring:NAME` or `file:PATH`. Raises `Failure`: configuration_invalid, keyring_locked."""
    kind, _, name = place.partition(":")
    return _from_keyring(name, may_prompt=may_prompt) if kind == "keyring" else _from_file(Path(name))


def _from_file(path: Path) -> Secret:
    from acp_stdio.vault.private_file import Unfit, read_own

    try:
        text = read_own(path, _MOST).decode().strip()
    except FileNotFoundError:
        raise _missing(f"there is no file {path}", f"Write it there: `umask 077; cat > {path}`.") from None
    except UnicodeDecodeError:
        raise _missing(f"{path} is not text", "Put the secret alone into it.") from None
    except Unfit as unfit:
        raise _missing(str(unfit), f"Make it yours alone: `chmod 600 {path}`.") from None
    if not text:
        raise _missing(f"{path} is empty", "Put the secret alone into it.")
    return Secret(text)


def _from_keyring(name: str, *, may_prompt: bool) -> Secret:
    from acp_stdio.vault.keyring_vault import CLIENT_SECRETS, USERNAME, open_keyring

    secret = open_keyring("auto", may_prompt=may_prompt).client_secret(name)
    if secret is None:
        raise _missing(
            f"the keyring has no entry {CLIENT_SECRETS}/{name}",
            f"Store it under the service {CLIENT_SECRETS}/{name} and the user {USERNAME}.",
        )
    return secret


def _missing(why: str, advice: str) -> Failure:
    return Failure("configuration_invalid", f"The secret that client_secret_ref names cannot be read: {why}.", advice)
