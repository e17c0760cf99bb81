"""One upstream that this process is to serve, before there is an event loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.catalogue.model import Catalogue
from acp_stdio.settings.model import UpstreamSettings
from acp_stdio.tokens.sign_ins import SignIn

if TYPE_CHECKING:
    from acp_stdio.runtime.helper_process import HelperProcess
    from acp_stdio.tokens.messages import Request


@dataclass(frozen=True, slots=True)
class Served:
    """What `runtime.compose` found out about it and began for it."""

    upstream: UpstreamSettings
    sign_in: SignIn
    signed_in: bool
    """Whether calls may leave: somebody is signed in, or it takes no token."""
    revoked: bool
    """The administrator's word about the person who was signed in."""
    catalogue: Catalogue
    catalogue_file: CatalogueFile
    request: "Callable[[str | None], Request]"
    """What its token helper is asked for, from the fingerprint of a token that was rejected."""
    helper: "HelperProcess | None"
    """It fetches a token on the other core, while we import."""
