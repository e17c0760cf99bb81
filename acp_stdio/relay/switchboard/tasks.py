"""Task ids of several upstreams, which may choose the same: `<upstream>:<id>` to the host, which does not read it."""

from collections.abc import Sequence


class Tasks:
    """Whose task an id is."""

    def __init__(self, upstreams: Sequence[str]) -> None:
        self._upstreams = list(upstreams)

    def shown(self, lane: int, task: str) -> str:
        """What the host knows this upstream's task as."""
        return f"{self._upstreams[lane]}:{task}"

    def route(self, shown: str) -> tuple[int, str] | None:
        """The upstream and its own id; None where it is none of an upstream's."""
        upstream, colon, task = shown.partition(":")
        return (self._upstreams.index(upstream), task) if colon and upstream in self._upstreams else None
