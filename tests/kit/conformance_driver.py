"""A host for the conformance suite's client scenarios: `python -m tests.kit.conformance_driver URL`.

The suite starts a server and this program, and looks at what reaches the server; between the two is
`acp-stdio run`, which knows nothing of the suite. The host signs in only through the tool `acp_login`. Where a scenario
has no authorization of its own, the person belongs to the provider that ACP_TEST_ISSUER names. With ACP_TEST_HOST_ERA
set to `other` the host knows only the era that the suite's server does not.
"""

import contextlib
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.kit.host import MODERN, RawHost, reason_of, text_of
from tests.kit.modern_gate import modern_gate
from tests.kit.scene import all_gone
from tests.kit.signing_in import Machine

OURS = ("acp_login", "acp_status")
LOGIN_REASONS = ("login_required", "insufficient_scope")
METADATA_URL = "https://conformance-test.local/client-metadata.json"
"""The client id that the suite's authorization server knows as a metadata document."""
UNNAMED = 'token_format = "opaque"\nprincipal = "unverified"'
"""The suite's tokens say nothing, and no ID token says who signed in."""
MOST_LOGINS = 4
"""How often this person signs in before they give up; more than any scenario should need."""

Json = dict[str, Any]


class DiscoveringMachine(Machine):
    """A machine whose configuration names no issuer: everything is discovered from the server."""

    def configure(self) -> None:
        super().configure()
        config = self.home / "config" / "config.toml"
        config.write_text(config.read_text().replace(f'issuer = "{self.issuer}"\nclient_id = "{self.client_id}"\n', ""))


class Host:
    """Plays one scenario through `run`."""

    def __init__(self, raw: RawHost, context: Json) -> None:
        self._raw = raw
        self._seen = 0
        self.context = context

    def ask(self, method: str, params: Json | None = None) -> Json:
        """Sends a request, answers what is asked meanwhile, and returns the answer."""
        wanted = self._raw.send(method, params)

        def matters(frame: Json) -> bool:
            return "id" in frame and ("method" in frame or frame["id"] == wanted)

        while True:
            line = self._raw.wait_for(matters, self._seen)
            self._seen = self._raw.lines.index(line, self._seen) + 1
            frame: Json = json.loads(line)
            if "method" not in frame:
                return frame
            answer = {"jsonrpc": "2.0", "id": frame["id"], "result": accepted(frame["params"])}
            self._raw.send_raw(json.dumps(answer).encode())

    def tools(self) -> list[Json]:
        """The server's tools. Where there are none, this person looks whether they are signed in still."""
        listed = self._listed()
        if not listed and not self.is_signed_in():
            self.login()
            listed = self._listed()
        return listed

    def is_signed_in(self) -> bool:
        """What `acp_status` says."""
        answer = self.ask("tools/call", {"name": "acp_status", "arguments": {}})
        return text_of(answer).startswith("Signed in as")

    def _listed(self) -> list[Json]:
        return [tool for tool in self.ask("tools/list")["result"]["tools"] if tool["name"] not in OURS]

    def login(self) -> None:
        """Raises `SystemExit` with what the tool said, where it did not work."""
        answer = self.ask("tools/call", {"name": "acp_login", "arguments": {}})
        if answer["result"].get("isError"):
            raise SystemExit(f"acp_login: {text_of(answer)}")

    def call(self, name: str, arguments: Json) -> Json:
        """Calls a tool, with the inputs that it asks for, and signs in where that helps."""
        params: Json = {"name": name, "arguments": arguments}
        answer = self._attempt(params)
        for _ in range(MOST_LOGINS):
            if reason_of(answer) not in LOGIN_REASONS:
                break
            self.login()
            answer = self._attempt(params)
        if reason_of(answer):
            raise SystemExit(f"{name}: {json.dumps(answer)}")
        return answer

    def _attempt(self, params: Json) -> Json:
        answer = self.ask("tools/call", params)
        while "result" in answer and answer["result"].get("resultType") == "input_required":
            answer = self.ask("tools/call", {**params, **inputs(answer["result"])})
        return answer


def accepted(params: Json) -> Json:
    """A person who accepts a form as it is: every default."""
    properties = params.get("requestedSchema", {}).get("properties", {})
    content = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    return {"action": "accept", "content": content}


def inputs(result: Json) -> Json:
    """What goes along when a request is repeated (MCP 2026-07-28, multi round-trip requests)."""
    answers = {key: accepted(request["params"]) for key, request in result["inputRequests"].items()}
    state = {"requestState": result["requestState"]} if "requestState" in result else {}
    return {"inputResponses": answers, **state}


# -- scenarios -------------------------------------------------------------------------------------


def example(schema: Json) -> Json:
    """Arguments that a schema takes: something for each property."""
    kinds: Json = {
        "string": "text",
        "integer": 1,
        "number": 1.5,
        "boolean": True,
        "array": [],
        "object": {},
        "null": None,
    }
    return {name: kinds.get(str(sub.get("type")), "text") for name, sub in schema.get("properties", {}).items()}


def call_all(host: Host) -> None:
    """Lists the tools and calls each."""
    for tool in host.tools():
        host.call(tool["name"], example(tool["inputSchema"]))


def call_as_told(host: Host) -> None:
    """Makes the calls that the suite wants to see."""
    host.tools()
    for call in host.context["toolCalls"]:
        host.call(call["name"], call["arguments"])


def use_all(host: Host) -> None:
    """Tools, resources and prompts."""
    call_all(host)
    for resource in host.ask("resources/list")["result"]["resources"]:
        host.ask("resources/read", {"uri": resource["uri"]})
    for prompt in host.ask("prompts/list")["result"]["prompts"]:
        host.ask("prompts/get", {"name": prompt["name"]})


def only_list(host: Host) -> None:
    host.tools()


def echo_schema(host: Host) -> None:
    """Gives a schema back as it came."""
    schemas = {tool["name"]: tool["inputSchema"] for tool in host.tools()}
    host.call("json_schema_echo", {"schema": schemas["json_schema_2020_12_tool"]})


PLAYS: dict[str, Callable[[Host], None]] = {
    "http-custom-headers": call_as_told,
    "http-standard-headers": use_all,
    "json-schema-ref-no-deref": only_list,
    "json-schema-2020-12-preservation": echo_schema,
}
"""All others are played by `call_all`."""


def read(url: str) -> Any:
    """What an administrator looks up, or sets, before anybody signs in."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        return json.load(answer)


def machine_for(scenario: str, home: Path, url: str, context: Json) -> Machine:
    """A machine configured as a company would do it for such a server."""
    curl = {"BROWSER": "curl -sL -o /dev/null"}
    if scenario == "auth/pre-registration":
        secret = home / "client.secret"
        secret.touch(0o600)
        secret.write_text(context["client_secret"])
        parts = urlsplit(url)
        (issuer,) = read(f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}")[
            "authorization_servers"
        ]
        return Machine(
            home,
            issuer,
            url,
            client_id=context["client_id"],
            identity=f'client_secret_ref = "file:{secret}"',
            upstream_lines=UNNAMED,
            extra_environment=curl,
        )
    if scenario.startswith("auth/"):
        bound = 'dpop = "require"' if scenario.startswith("auth/dpop") else ""
        lines = f'client_metadata_url = "{METADATA_URL}"\n{bound}'
        return DiscoveringMachine(home, "", url, identity=lines, upstream_lines=UNNAMED, extra_environment=curl)
    issuer = os.environ["ACP_TEST_ISSUER"]
    read(f"{issuer}/_resource?{urlencode({'uri': url})}")
    return Machine(home, issuer, url)


def main() -> None:
    url = sys.argv[-1]
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    crossed = os.environ.get("ACP_TEST_HOST_ERA") == "other"
    modern = (os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"] == MODERN) is not crossed
    context: Json = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    with tempfile.TemporaryDirectory(prefix="acp-stdio-conformance-") as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        if crossed and not modern:  # the suite's servers take an `initialize` that they do not want
            url = stack.enter_context(modern_gate(url))
        machine = machine_for(scenario, home, url, context)
        with RawHost(machine.environment, home, modern=modern) as raw:
            try:
                if crossed and modern:
                    raw.ask("server/discover")  # whatever comes: this host knows no other era, and goes on
                else:
                    raw.shake_hands({"elicitation": {}})
                host = Host(raw, context)
                host.login()
                PLAYS.get(scenario, call_all)(host)
            finally:
                sys.stderr.write(raw.stderr.read_text())
        all_gone(home)


if __name__ == "__main__":
    main()
