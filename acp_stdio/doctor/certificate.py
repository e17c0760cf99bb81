"""A server's certificate, as far as people need to know it."""

from dataclasses import dataclass
from typing import Any

from acp_stdio.oauth.words import plain


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says about itself."""

    issuer: str
    names: tuple[str, ...]
    """The hosts that it is for."""
    ends: float
    """Epoch seconds."""
    until: str
    """The same as a date."""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"certificate_issuer": self.issuer, "certificate_names": list(self.names), "expires": self.until}


def read(der: bytes) -> Certificate:
    """Raises `ValueError` for what is no certificate."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    found = x509.load_der_x509_certificate(der)
    common = found.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    issuer = str(common[0].value) if common else found.issuer.rfc4514_string()
    try:
        general = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        names: tuple[str, ...] = ()
    else:
        names = tuple(plain(str(name.value)) for name in general)
    end = found.not_valid_after_utc
    return Certificate(plain(issuer) or "nobody", names, end.timestamp(), end.strftime("%Y-%m-%d"))
