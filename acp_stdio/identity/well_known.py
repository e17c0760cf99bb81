"""Where the documents about an authorization server and a protected resource lie."""

from urllib.parse import urlsplit


def issuer_metadata(issuer: str) -> tuple[str, ...]:
    """Addresses of an issuer's metadata, in the order of the MCP authorization specification (RFC 8414, OpenID)."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
    if not path:
        return (origin + oauth, origin + openid)
    return (origin + oauth + path, origin + openid + path, origin + path + openid)


def resource_metadata(resource: str) -> str:
    """The address of a resource's metadata: the well-known part between host and path (RFC 9728 section 3.1)."""
    parts = urlsplit(resource)
    path = parts.path.rstrip("/") if parts.path == "/" else parts.path
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{path}{query}"
