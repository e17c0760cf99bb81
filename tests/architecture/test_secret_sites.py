"""Every place where a secret leaves its wrapper is listed here with its reason; a new one fails."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.walk import modules, shown, tree

REVEALED = {
    "acp_stdio/identity/claims.py:claimed_subject": "whose sign-in failed decides whether to give it back",
    "acp_stdio/identity/claims.py:_hash": "at_hash is a digest of the access token (OpenID Connect Core 3.1.3.6)",
    "acp_stdio/identity/claims.py:_verified": "PyJWT checks the signature of the token's text",
    "acp_stdio/identity/grant.py:decode_grant": "the record read from the keyring",
    "acp_stdio/identity/grant.py:encode_grant": "the record that goes into the keyring",
    "acp_stdio/identity/proof.py:ProofKey.__init__": "the stored key becomes one that can sign, and cannot be printed",
    "acp_stdio/login/client.py:InteractiveClient.authorization_url": "PKCE: the challenge is made of the verifier",
    "acp_stdio/login/client.py:InteractiveClient.exchange": "the code and the verifier go to the token endpoint",
    "acp_stdio/login/client.py:InteractiveClient.poll_device": "the device code goes to the token endpoint",
    "acp_stdio/oauth/client.py:Credential.attach": "a confidential client shows its secret to the token endpoint",
    "acp_stdio/oauth/endpoint.py:refresh": "the refresh token goes to the token endpoint",
    "acp_stdio/oauth/endpoint.py:revoke": "the token goes to the revocation endpoint",
    "acp_stdio/oauth/keys.py:_has_key_of": "the JWT's header names its key",
    "acp_stdio/oauth/endpoint.py:exchange": "the person's own token goes to the token endpoint for another",
    "acp_stdio/oauth/user_endpoint.py:user_claims": "a provider without ID tokens is asked whose its token is",
    "acp_stdio/probe/forge.py:algorithm_of": "the header of a token names its algorithm",
    "acp_stdio/probe/forge.py:forgeries": "forged tokens are made of the person's own, for the server it is for",
    "acp_stdio/probe/scrub.py:holds": "a server's log is searched for the token",
    "acp_stdio/probe/scrub.py:without": "what a server says is cleared of the token",
    "acp_stdio/tokens/messages.py:encode_request": "run hands it back to be ended at the provider after a logout",
    "acp_stdio/tokens/messages.py:encode_revocation": "run hands a held token to its helper, to be revoked",
    "acp_stdio/tokens/messages.py:token_to_json": "the helper hands the access token to run through their pipe",
    "acp_stdio/tokens/messages.py:fingerprint": "a digest tells which token was refused, without the token",
    "acp_stdio/upstream/attach.py:AuthorizedConnector.request": "THE place where the token goes on a request",
    "acp_stdio/vault/device_key.py:read_key": "the private half becomes a key that can sign, and cannot be printed",
    "acp_stdio/upstream/attach.py:ChildAttacher.request": "the token goes into a child's message, where so configured",
    "acp_stdio/vault/file_vault.py:FileVault.save": "the record is encrypted into the store that the settings name",
    "acp_stdio/vault/keyring_vault.py:KeyringVault.save": "the record goes into the OS keyring",
    "acp_stdio/upstream/attach.py:header_of": "a program that sends the token itself is handed the header",
    "acp_stdio/cli/token.py:_print": "the command that prints a token, where the configuration allows it",
    "acp_stdio/upstream/possession.py:ProvingConnector.take_up": "a proof names the token by a digest (RFC 9449)",
    "acp_stdio/upstream/statements.py:Statements._taken_up": "a statement is bound to the token by a digest (RFC 9449)",
    "acp_stdio/upstream/proxy.py:open_tunnel": "the proxy's own credential goes to the proxy",
}
"""`FILE:FUNCTION` of each call of `Secret.reveal`, and what the secret is needed for there."""

ATTACHED = "acp_stdio/upstream/attach.py"
"""The one file that puts a token on a request to a server."""
WHOSE = "acp_stdio/oauth/user_endpoint.py"
"""The one that shows a provider its own token."""
NAMED = "acp_stdio/settings/model.py"
"""No header: `endpoints` has a key of that name. Settings are data and send nothing."""


def functions(node: ast.AST, name: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Each node below `node` with the qualified name of the function or class around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from functions(child, f"{name}.{child.name}".lstrip("."))
        else:
            yield name, child
            yield from functions(child, name)


def reveals(module: ast.Module) -> list[str]:
    """Functions that name `reveal`, called or handed on."""
    return [
        name
        for name, node in functions(module)
        if (isinstance(node, ast.Attribute) and node.attr == "reveal")
        or (isinstance(node, ast.Constant) and node.value == "reveal")
    ]


def headers(module: ast.Module) -> list[int]:
    """Lines that name the authorization header or begin a bearer credential."""
    return [
        node.lineno
        for node in ast.walk(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str | bytes)
        and _is_header(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
    ]


def _is_header(text: str) -> bool:
    return text.strip(" :\r\n").lower() == "authorization" or text.lower().startswith("authorization: ")


def test_every_place_that_reveals_a_secret_is_listed_with_its_reason() -> None:
    found = {
        f"{shown(path)}:{name}"
        for path in modules()
        if shown(path) != "acp_stdio/secrets.py"
        for name in reveals(tree(path))
    }
    assert found - set(REVEALED) == set(), "say in REVEALED why these need the secret itself"
    assert set(REVEALED) - found == set(), "these no longer reveal anything: take them off the list"
    assert all(REVEALED.values())


def test_the_authorization_header_is_built_in_one_file() -> None:
    """Servers read it, on the far side (the kit for them, the demo); nothing else of ours may even name it."""
    far_side = {"demo", "backend"}
    found = {shown(path) for path in modules() if headers(tree(path)) and not far_side & set(Path(shown(path)).parts)}
    assert found == {ATTACHED, WHOSE, NAMED}


@pytest.mark.parametrize(
    "code",
    ["token.reveal()", "send(token.reveal)", "getattr(token, 'reveal')", "[t.reveal() for t in x]"],
)
def test_a_planted_site_is_found(code: str) -> None:
    assert reveals(ast.parse(f"class Room:\n    def door(self):\n        {code}")) == ["Room.door"]


@pytest.mark.parametrize("code", ["h['Authorization'] = x", "b'authorization'", "f'Authorization: Bearer {x}'"])
def test_a_planted_header_is_found(code: str) -> None:
    assert headers(ast.parse(code)) == [1]
