"""Whose resource a URI is. MCP has no rule for several servers, so each keeps its own URIs where they are unique.

A URI that two upstreams have is the one's who named it first; the other's is shown as
`acp-stdio:<upstream>:<uri>` wherever it occurs, so that neither is hidden or read from the wrong one.
"""

from collections.abc import Sequence
from typing import Final

SCHEME: Final = "acp-stdio:"
MAX_KNOWN: Final = 50_000
"""URIs of one upstream; links in tool results add to them for as long as the process lives. Its oldest are forgotten
first, and nobody else's: who names many takes none from another."""


_Tables = list[dict[str, None]]
"""Each upstream's own, in the order in which it named them."""


class Resources:
    """The routing table of URIs and URI templates."""

    def __init__(self, upstreams: Sequence[str]) -> None:
        self._upstreams = list(upstreams)
        self._uris: _Tables = [{} for _ in upstreams]
        self._templates: _Tables = [{} for _ in upstreams]

    def shown(self, lane: int, uri: str) -> str:
        """What the host knows this upstream's resource as. Whoever shows a URI first has it."""
        return self._shown(self._uris, lane, uri)

    def shown_template(self, lane: int, template: str) -> str:
        """The same for a URI template (RFC 6570); the prefix is literal text in it."""
        return self._shown(self._templates, lane, template)

    def route(self, uri: str) -> tuple[int, str] | None:
        """The upstream and its own URI; None where nobody has shown it, nor a template for it."""
        if uri.startswith(SCHEME):
            upstream, colon, rest = uri[len(SCHEME) :].partition(":")
            if colon and upstream in self._upstreams:
                return self._upstreams.index(upstream), rest
        lane = _owner(self._uris, uri)
        if lane is None:
            lane = _owner(self._templates, uri)  # a completion names the template itself
        if lane is None:
            fitting = [(of, each) for of, table in enumerate(self._templates) for each in table if fits(each, uri)]
            lane, _ = max(fitting, key=lambda found: len(found[1].partition("{")[0]), default=(None, ""))
        return None if lane is None else (lane, uri)

    def _shown(self, tables: _Tables, lane: int, uri: str) -> str:
        if uri.startswith(SCHEME):  # an upstream that is one of us
            return f"{SCHEME}{self._upstreams[lane]}:{uri}"
        owner = _owner(tables, uri)
        if owner is None:
            own, owner = tables[lane], lane
            own[uri] = None
            if len(own) > MAX_KNOWN:
                del own[next(iter(own))]
        return uri if owner == lane else f"{SCHEME}{self._upstreams[lane]}:{uri}"


def _owner(tables: _Tables, uri: str) -> int | None:
    return next((lane for lane, table in enumerate(tables) if uri in table), None)


def fits(template: str, uri: str) -> bool:
    """Whether a URI can come from this template: all its literal parts are there, in their order.

    Looser than RFC 6570, which says how to expand and not how to match; each part is looked for once.
    """
    first, *rest = template.split("{")
    if not uri.startswith(first):
        return False
    place = len(first)
    literals = [part.partition("}")[2] for part in rest]
    for literal in literals[:-1]:
        found = uri.find(literal, place)
        if found < 0:
            return False
        place = found + len(literal)
    last = literals[-1] if literals else ""
    return uri.endswith(last) and len(uri) - len(last) >= place if literals else uri == first
