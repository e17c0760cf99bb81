"""What is whose: names, URIs and task ids, as each upstream says them and as the host does."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import Raw

from acp_stdio.catalogue.model import Catalogue
from acp_stdio.relay.handshake import RequestView
from acp_stdio.relay.switchboard.editing import Edit, at, each, edited, every, in_frame, put, string, text, within
from acp_stdio.relay.switchboard.names import Names
from acp_stdio.relay.switchboard.resources import Resources
from acp_stdio.relay.switchboard.tasks import Tasks
from acp_stdio.wire import members, methods
from acp_stdio.wire.frames import Frame

LISTS: Final = {**methods.LISTS, "tasks/list": "tasks"}
"""List methods whose answers are merged, and the member of their result that holds the list."""

RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
"""The `_meta` key by which a message names the task that it belongs to (MCP 2025-11-25, tasks)."""
_COMPLETE: Final = "completion/complete"


class Routed(NamedTuple):
    """Where a request goes, and in which words."""

    lane: int
    raw: bytes


class Directory:
    """The three tables, and where in a message their words occur."""

    def __init__(self, upstreams: Sequence[str], catalogues: Sequence[Catalogue]) -> None:
        """`catalogues`: what each upstream listed in earlier days, read when a word is not known from today."""
        self._upstreams = upstreams
        self._lanes = range(len(upstreams))
        self._names = Names(upstreams)
        self._resources = Resources(upstreams)
        self._tasks = Tasks(upstreams)
        self._catalogues = catalogues
        self._recalled = False

    # -- from an upstream to the host ---------------------------------------------------------------

    def shown_item(self, lane: int, member: str) -> Edit:
        """How an item of one of the `LISTS` is shown; `member` holds the list."""
        if member.startswith("resource"):
            self._recall()
        uri = text(lambda uri: self._resources.shown(lane, uri))
        name = text(lambda name: self._names.shown(lane, name))
        match member:
            case "tools":  # MCP Apps names the tool's page in both of these ways
                meta: dict[str, Edit] = {"ui": within(resourceUri=uri), "ui/resourceUri": uri}
                return within(name=name, _meta=lambda raw: edited(raw, meta))
            case "prompts":
                return within(name=name)
            case "resources":
                return within(uri=uri)
            case "resourceTemplates":
                return within(uriTemplate=text(lambda template: self._resources.shown_template(lane, template)))
            case _:
                return within(taskId=self._task(lane))

    def shown_result(self, lane: int, frame: Frame) -> bytes:
        """A response with its links and task ids as the host knows them. The host may follow each link."""
        words = (b'"uri"', b'"taskId"', b'"inputRequests"')
        if not any(word in frame.raw for word in words):
            return frame.raw
        uri = within(uri=text(lambda uri: self._resources.shown(lane, uri)))

        def block(raw: Raw) -> Raw:
            linked = members.text(members.members(raw).get("type")) == "resource_link"
            return uri(raw) if linked else edited(raw, {"resource": uri})

        def blocks(raw: Raw) -> Raw:
            return block(raw) if bytes(raw).lstrip()[:1] == b"{" else each(block)(raw)

        task = self._task(lane)
        result = within(
            content=blocks,
            contents=each(uri),
            messages=each(within(content=blocks)),
            taskId=task,
            task=within(taskId=task),
            inputRequests=every(self._question(lane)),
            _meta=self._related(lane),
        )
        return in_frame(frame, result=result)

    def shown_notice(self, lane: int, frame: Frame) -> bytes:
        """A notification or request of an upstream with its URI and task ids as the host knows them.

        A task that a server asks the host about is the host's own.
        """
        if frame.is_request and frame.method == methods.ELICIT:
            return in_frame(frame, params=self._labelled(lane))
        if b'"uri"' not in frame.raw and b'"taskId"' not in frame.raw:
            return frame.raw
        params: dict[str, Edit] = {"_meta": self._related(lane)}
        if not frame.is_request:
            params |= {"uri": text(lambda uri: self._resources.shown(lane, uri)), "taskId": self._task(lane)}
        return in_frame(frame, params=lambda raw: edited(raw, params))

    def shown_uri(self, lane: int, uri: str) -> str:
        """A resource of this upstream's as the host knows it."""
        return self._resources.shown(lane, uri)

    def shown_task(self, lane: int, task: str) -> str:
        """A task of this upstream's as the host knows it."""
        return self._tasks.shown(lane, task)

    # -- from the host to an upstream -----------------------------------------------------------------

    def route(self, frame: Frame, view: RequestView) -> Routed | None:
        """Whom a request means, by the name, URI or task that it names; None where it names nobody's."""
        if frame.method == _COMPLETE:
            ref = members.members(members.members(frame.params).get("ref"))
            name, uri, task = members.text(ref.get("name")), members.text(ref.get("uri")), ""
        else:
            name, uri, task = view.name, view.uri, view.task
        found = self.whose_name(name) or self.whose_uri(uri) or self._tasks.route(task)
        if found is None:
            return None
        lane, own = found
        word = "name" if name else "uri" if uri else "taskId"
        edit = at(word, edit=put(string(own)))
        return Routed(lane, in_frame(frame, params=within(ref=edit) if frame.method == _COMPLETE else edit))

    def whose_name(self, shown: str) -> tuple[int, str] | None:
        """The upstream and its own name of a tool or prompt."""
        if shown and self._names.is_unknown_short(shown):
            self._recall()
        return self._names.route(shown) if shown else None

    def whose_uri(self, shown: str) -> tuple[int, str] | None:
        """The upstream and its own URI of a resource."""
        if not shown:
            return None
        self._recall()
        return self._resources.route(shown)

    def whose_task(self, shown: str) -> tuple[int, str] | None:
        """The upstream and its own id of a task."""
        return self._tasks.route(shown)

    # -- the parts --------------------------------------------------------------------------------------

    def _task(self, lane: int) -> Edit:
        return text(lambda task: self._tasks.shown(lane, task))

    def _question(self, lane: int) -> Edit:
        label = within(params=self._labelled(lane))
        return lambda raw: label(raw) if members.text(members.members(raw).get("method")) == methods.ELICIT else raw

    def _labelled(self, lane: int) -> Edit:
        """Who asks, which hosts must show (MCP, client/elicitation): all they can show here is our own name."""
        label = text(lambda message: f"{self._upstreams[lane]}: {message}")
        return within(message=label, _meta=self._related(lane))

    def _related(self, lane: int) -> Edit:
        return at(RELATED_TASK, "taskId", edit=self._task(lane))

    def _recall(self) -> None:
        """Reads the lists of earlier days, in the order of the upstreams: who had a URI first has it again."""
        if self._recalled:
            return
        self._recalled = True
        for lane, catalogue in zip(self._lanes, self._catalogues, strict=True):
            for key, result in list(catalogue.items()):
                member = LISTS.get(key.split(" ")[1]) if key.count(" ") >= 2 else None
                if member is not None:
                    each(self.shown_item(lane, member))(members.members(result).get(member, Raw(b"[]")))
