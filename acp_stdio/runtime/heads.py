"""The headers that a request brings: those it shares with others, made once, and its own."""

from collections.abc import Callable
from typing import Final

from acp_stdio import __version__
from acp_stdio.relay.commands import Headers
from acp_stdio.wire.headers import header_block, header_text

MOST: Final = 32
"""Blocks that are kept: a few tools are called often."""
LONGEST: Final = 4096
"""Bytes of one that is kept: arguments may travel in headers, too, and are nobody's once their call is over."""


class Heads:
    """Header blocks of one upstream's requests. One made of its parts costs 5 us, one that is known 2."""

    def __init__(self, agent: Callable[[], tuple[str, str]]) -> None:
        """`agent`: name and version that the host gives itself."""
        self._agent = agent
        self._named: tuple[str, str] | None = None
        """Whom the known blocks name."""
        self._known: dict[Headers, bytes] = {}

    def block(self, shared: Headers, own: Headers) -> bytes:
        """All but the token's. Raises `ValueError` for what HTTP does not carry."""
        agent = self._agent()
        if agent != self._named or len(self._known) >= MOST:
            self._named, self._known = agent, {}
        known = self._known.get(shared)
        if known is None:
            name, version = agent
            told = f" ({header_text(name)}/{header_text(version)})" if name else ""
            known = header_block((*shared, ("User-Agent", f"acp-stdio/{__version__}{told}")))
            if len(known) <= LONGEST:
                self._known[shared] = known
        return known + header_block(own)
