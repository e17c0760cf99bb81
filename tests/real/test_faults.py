"""Whatever the server, the network or the provider do: `run` lives, answers once, and says what happened.

The hosts are real `acp-stdio run` processes that serve all of these tests: who breaks one, breaks the next.
"""

import gzip
import json
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import pytest

from tests.kit.fault_upstream import Act, FaultUpstream, Request, fault_upstream
from tests.kit.host import RawHost, reason_of, text_of
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.scene import Scene, eventually
from tests.kit.sdk_upstream import SdkUpstream

pytestmark = pytest.mark.real

SENT = "Nothing was sent."
DONE = "Nothing was carried out."
PERHAPS = "This may have been carried out: check before repeating."
ADVICE = ("Run ", "Try ", "Ask ", "Check ", "Use ", "Approve ")
ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])
UNREACHABLE: Final = "upstream_unreachable"


# -- how a server can answer ---------------------------------------------------------------------------


def says(status: int, body: bytes = b"", kind: str = "text/plain", *more: str) -> Act:
    """Refuses, and does nothing."""
    return lambda request: request.reply(status, body, kind, *more)


def fails(status: int, body: bytes = b"", kind: str = "text/html") -> Act:
    """Does it, and cannot say so."""

    def act(request: Request) -> None:
        request.carry_out()
        request.reply(status, body, kind)

    return act


def sends(data: Callable[[Request], bytes], *, cut: bool = False) -> Act:
    """Does it, sends these bytes and closes; `cut`: with a reset."""

    def act(request: Request) -> None:
        request.carry_out()
        request.raw(data(request))
        request.cut() if cut else request.end()

    return act


def body(data: Callable[[Request], bytes], *more: str, kind: str = "application/json") -> Act:
    """Does it and answers 200 with this body."""

    def act(request: Request) -> None:
        request.carry_out()
        request.reply(200, data(request), kind, *more)

    return act


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


SSE = head("HTTP/1.1 200 OK", "Content-Type: text/event-stream")
NOTE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"halfway"}}'


def other_id(request: Request) -> bytes:
    return json.dumps({**json.loads(request.result()), "id": "another"}).encode()


def oversized(request: Request) -> None:
    request.carry_out()
    request.raw(head("HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {80 << 20}"))
    for _ in range(80):
        request.raw(b" " * (1 << 20))
    request.end()


def redirect(request: Request) -> None:
    status = int(request.text.split()[1])
    request.reply(status, b"", "text/html", f"Location: {cast(Any, request.server).elsewhere.url}")


@dataclass(frozen=True)
class Case:
    """One way to misbehave, and what the host must be told."""

    name: str
    act: Act
    opening: str
    reason: str = UNREACHABLE
    words: str = ""
    arrivals: int = 1
    times: int = 1
    modern_reason: str = ""


REFUSED = [
    Case("401 always", says(401), DONE, "login_required", "login --force", arrivals=2, times=2),
    Case("403", says(403), DONE, "denied", "refused this for your account"),
    Case(
        "403 scope",
        says(403, b"", "text/plain", 'WWW-Authenticate: Bearer error="insufficient_scope", scope="finance.write"'),
        DONE,
        "insufficient_scope",
        "--add-scope finance.write",
    ),
    Case("400", says(400, b"what?"), DONE, words="HTTP 400", modern_reason="era_mismatch"),
    Case("404", says(404), DONE, words="HTTP 404", arrivals=2, times=2, modern_reason="era_mismatch"),
    Case("405", says(405), DONE, words="HTTP 405", modern_reason="era_mismatch"),
    Case("429", says(429, b"", "text/plain", "Retry-After: 30"), DONE, "overloaded", "HTTP 429"),
    *(Case(f"redirect {n}", redirect, DONE, words="a token is not carried elsewhere") for n in (301, 302, 307, 308)),
]
UNCERTAIN = [
    Case("500", fails(500), PERHAPS, words="HTTP 500"),
    Case("502", fails(502, b"<h1>Bad Gateway</h1>"), PERHAPS, words="HTTP 502"),
    Case("503", fails(503), PERHAPS, words="HTTP 503"),
    Case("see other", fails(303), PERHAPS, words="HTTP 303"),
    Case("garbage", sends(lambda _: b"\x16\x03\x01\x00SSH-2.0 \xff\xfe\r\n\r\n"), PERHAPS, words="not proper HTTP"),
    Case("web page", body(lambda _: b"<h1>Please sign in</h1>", kind="text/html"), PERHAPS),
    Case("truncated", body(lambda r: r.result()[:-9]), PERHAPS),
    Case("not JSON-RPC", body(lambda _: b'{"status": "ok"}'), PERHAPS),
    Case("an array", body(lambda r: b"[" + r.result() + b"]"), PERHAPS),
    Case("another id", body(other_id), PERHAPS),
    Case("empty", body(lambda _: b""), PERHAPS),
    Case("accepted", fails(202), PERHAPS),
    Case("no content", sends(lambda _: head("HTTP/1.1 204 No Content")), PERHAPS),
    Case("switches", sends(lambda _: head("HTTP/1.1 101 Up", "Upgrade: x", "Connection: upgrade")), PERHAPS),
    Case("breaks first", sends(lambda _: b"", cut=True), PERHAPS, words="without an answer"),
    Case("closes first", sends(lambda _: b""), PERHAPS, words="without an answer"),
    Case("breaks in the head", sends(lambda _: b"HTTP/1.1 200 OK\r\nContent-Ty", cut=True), PERHAPS),
    Case(
        "breaks in the body",
        sends(lambda r: head("HTTP/1.1 200 OK", "Content-Type: application/json", "Content-Length: 900") + r.result()),
        PERHAPS,
        words="in the middle of the answer",
    ),
    Case("breaks in SSE", sends(lambda _: SSE + b"data: " + NOTE + b"\n\nda", cut=True), PERHAPS),
    Case("SSE without the answer", body(lambda _: b"data: " + NOTE + b"\n\n", kind="text/event-stream"), PERHAPS),
    Case("oversized", oversized, PERHAPS, words="larger than 64 MiB"),
    Case("huge head", sends(lambda _: head("HTTP/1.1 200 OK", "X: " + "x" * 80_000)), PERHAPS, words="64 KiB"),
    Case("compressed", body(lambda r: gzip.compress(r.result()), "Content-Encoding: gzip"), PERHAPS, words="not asked"),
]
CASES = [*REFUSED, *UNCERTAIN]
ODD_BUT_GOOD: dict[str, Act] = {
    "HTTP/1.0 until close": sends(lambda r: head("HTTP/1.0 200 OK", "Content-Type: application/json") + r.result()),
    "trailing junk": sends(
        lambda r: (
            head("HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(r.result())}")
            + r.result()
            + b"junk"
        )
    ),
    "wrong content type": body(Request.result, kind="text/plain"),
    "pretty": body(lambda r: json.dumps(json.loads(r.result()), indent=2).encode()),
    "SSE": body(lambda r: b"data: " + r.result() + b"\n\n", kind="text/event-stream"),
}


# -- who takes part ------------------------------------------------------------------------------------


class Company(FaultUpstream):
    """A server, and another one beside it that nobody may come to."""

    elsewhere: FaultUpstream


@dataclass
class Stage:
    """Alice, signed in, with one host of each era, and one of each that is in a hurry."""

    scene: Scene
    server: FaultUpstream
    elsewhere: FaultUpstream
    hosts: dict[str, RawHost]

    def check(self, host: RawHost, text: str) -> None:
        """The process lives: the next call is carried out, once."""
        assert text_of(host.call("echo", text=text)) == text
        assert self.server.carried_out[text] == 1


def scene_before(home: Path, provider: OidcProvider, server: FaultUpstream, identity: str = "") -> Scene:
    """Alice before a server that misbehaves, signed in."""
    scene = Scene(home, provider, cast(SdkUpstream, server), identity=identity)  # only its url is used
    scene.login()
    return scene


@contextmanager
def impatient(scene: Scene, era: str) -> Generator[RawHost]:
    """A host whose calls have two seconds."""
    config = scene.home / "config" / "hasty.toml"
    config.write_text((scene.home / "config" / "config.toml").read_text() + '\n[host]\ncall_timeout = "2s"\n')
    environment = {**scene.environment, "ACP_STDIO_CONFIG": str(config)}
    with RawHost(environment, scene.home, modern=era == "modern") as host:
        host.shake_hands()
        warmed_up(host)
        yield host
    scene.remember()


def warmed_up(host: RawHost) -> None:
    """Has its token and its session."""
    eventually(lambda: "error" not in (a := host.call("echo", text="warm")) and not a["result"]["isError"], "warm")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        provider = stack.enter_context(oidc_provider())
        server, elsewhere = stack.enter_context(fault_upstream()), stack.enter_context(fault_upstream())
        cast(Company, server).elsewhere = elsewhere
        scene = scene_before(tmp_path_factory.mktemp("faults"), provider, server)
        hosts = {era: stack.enter_context(scene.host(modern=era == "modern")) for era in ("legacy", "modern")}
        hosts |= {f"hasty {era}": stack.enter_context(impatient(scene, era)) for era in ("legacy", "modern")}
        for host in hosts.values():
            warmed_up(host)
        server.carried_out.clear()
        yield Stage(scene, server, elsewhere, hosts)
        assert elsewhere.requests == []
        holds_in_the_trail(scene)


def holds_in_the_trail(scene: Scene) -> None:
    """Each intent has exactly one outcome."""
    intents = [record["call"] for record in scene.trail("call.intent")]
    outcomes = [record["call"] for record in scene.trail("call.outcome")]
    assert len(intents) == len(set(intents))
    assert sorted(intents) == sorted(outcomes)


def answers_to(host: RawHost, request_id: int) -> int:
    """How often a request was answered."""
    frames = [json.loads(line) for line in host.lines]
    return sum(frame.get("id") == request_id and "method" not in frame for frame in frames)


# -- calls -----------------------------------------------------------------------------------------------


@ERAS
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_is_answered_once_told_truly_and_nothing_is_repeated(stage: Stage, era: str, case: Case) -> None:
    host, server = stage.hosts[era], stage.server
    text = f"{case.name} {era}"
    refused_in_session = case.arrivals > 1 and case.name == "404" and era == "modern"
    times = 1 if refused_in_session else case.times
    server.next("tools/call", *[case.act] * times)
    request = host.begin("echo", text=text)
    answer = host.answer(request)
    said = text_of(answer)
    assert answer["result"]["isError"]
    assert reason_of(answer) == ((era == "modern" and case.modern_reason) or case.reason)
    assert said.startswith(f"{case.opening} ")
    assert case.words in said or reason_of(answer) == "era_mismatch"
    assert said.rstrip(".").rpartition(". ")[2].startswith(ADVICE), said
    stage.check(host, f"after {text}")
    assert answers_to(host, request) == 1
    assert len(server.seen("tools/call", text)) == (1 if refused_in_session else case.arrivals)
    assert server.carried_out[text] == (1 if case.opening == PERHAPS else 0)


@ERAS
@pytest.mark.parametrize("name", ODD_BUT_GOOD)
def test_an_answer_in_odd_clothes_is_an_answer(stage: Stage, era: str, name: str) -> None:
    host, text = stage.hosts[era], f"{name} {era}"
    stage.server.next("tools/call", ODD_BUT_GOOD[name])
    request = host.begin("echo", text=text)
    assert text_of(host.answer(request)) == text
    stage.check(host, f"after {text}")
    assert (answers_to(host, request), stage.server.carried_out[text]) == (1, 1)


@ERAS
def test_one_401_renews_the_token_and_the_person_notices_nothing(stage: Stage, era: str) -> None:
    host, server, text = stage.hosts[era], stage.server, f"once refused {era}"
    server.next("tools/call", says(401))
    assert text_of(host.call("echo", text=text)) == text
    first, second = (r.headers["authorization"] for r in server.seen("tools/call", text))
    assert first != second
    assert server.carried_out[text] == 1


@ERAS
def test_what_is_no_tool_call_gets_an_error_with_the_same_word(stage: Stage, era: str) -> None:
    host = stage.hosts[era]
    stage.server.next("prompts/get", fails(500))
    error = host.ask("prompts/get", {"name": "x"})["error"]
    assert (error["code"], error["data"]["reason"]) == (4502, UNREACHABLE)
    assert error["message"].startswith(PERHAPS)


@ERAS
def test_the_word_of_a_server_that_says_no_in_json_rpc_is_passed_on(stage: Stage, era: str) -> None:
    def refuses(request: Request) -> None:
        error = {"code": -32602, "message": "no such account"}
        request.reply(400, json.dumps({"jsonrpc": "2.0", "id": request.rpc["id"], "error": error}).encode())

    stage.server.next("tools/call", refuses)
    assert stage.hosts[era].call("echo", text="x")["error"] == {"code": -32602, "message": "no such account"}


def test_what_came_before_the_break_has_reached_the_host(stage: Stage) -> None:
    host = stage.hosts["legacy"]
    since = len(host.lines)
    stage.server.next("tools/call", sends(lambda _: SSE + b"data: " + NOTE + b"\n\nda", cut=True))
    assert text_of(host.call("echo", text="halfway")).startswith(PERHAPS)
    assert NOTE in host.lines[since:]


def test_every_request_carried_a_token_of_this_person_and_no_other_server_saw_one(stage: Stage) -> None:
    issued = {f"Bearer {token}" for token in stage.scene.provider.issued()}
    seen = {request.headers.get("authorization") for request in stage.server.requests}
    assert seen - {None} <= issued  # a login asks without a token who issues them here
    assert all("authorization" in request.headers for request in stage.server.seen("tools/call"))
    assert stage.elsewhere.requests == []


# -- a server that is away --------------------------------------------------------------------------------


@ERAS
def test_a_server_that_is_down_is_said_its_lists_are_served_and_it_comes_back(stage: Stage, era: str) -> None:
    host, server = stage.hosts[era], stage.server
    assert host.tools() == ["echo", "acp_login", "acp_status"]
    server.away()
    try:
        refused = host.call("echo", text="nobody home")
        assert (reason_of(refused), text_of(refused).startswith(SENT)) == (UNREACHABLE, True)
        assert "connection refused" in text_of(refused)
        assert host.tools() == ["echo", "acp_login", "acp_status"]
    finally:
        server.listen()
    stage.check(host, f"back again {era}")


@ERAS
def test_who_starts_while_the_server_is_down_is_served_once_it_is_up(stage: Stage, era: str) -> None:
    server = stage.server
    server.away()
    try:
        with stage.scene.host(modern=era == "modern") as host:
            assert host.tools() == ["echo", "acp_login", "acp_status"]
            refused = host.call("echo", text="too early")
            assert (reason_of(refused), text_of(refused).startswith(SENT)) == (UNREACHABLE, True)
            server.listen()
            stage.check(host, f"up at last {era}")
    finally:
        if server.closed:
            server.listen()


# -- sessions -----------------------------------------------------------------------------------------------


def test_a_lost_session_is_opened_once_more_and_nobody_notices(stage: Stage) -> None:
    host, server = stage.hosts["legacy"], stage.server
    opened = server.opened
    server.forget_sessions()
    stage.check(host, "in a new session")
    assert (server.opened, len(server.seen("tools/call", "in a new session"))) == (opened + 1, 2)


def test_many_calls_that_find_the_session_lost_share_one_new_one(stage: Stage) -> None:
    host, server = stage.hosts["legacy"], stage.server
    opened = server.opened
    server.forget_sessions()
    asked = {f"crowd {n}": host.begin("echo", text=f"crowd {n}") for n in range(12)}
    for text, request in asked.items():
        assert text_of(host.answer(request)) == text
        assert server.carried_out[text] == 1
    assert server.opened == opened + 1


@pytest.mark.parametrize("step", ["initialize", "notifications/initialized"])
@pytest.mark.parametrize("status", [404, 500])
def test_a_session_that_cannot_be_opened_again_is_tried_once_a_call(stage: Stage, step: str, status: int) -> None:
    host, server = stage.hosts["legacy"], stage.server
    text = f"no session {step} {status}"
    server.forget_sessions()
    opened = len(server.seen("initialize"))
    server.next(step, *[says(status)] * 4)
    refused = host.call("echo", text=text)
    assert (reason_of(refused), text_of(refused).startswith(DONE)) == (UNREACHABLE, True)
    again = host.call("echo", text=f"{text}, again")
    assert (reason_of(again), text_of(again).startswith(SENT)) == (UNREACHABLE, True)
    assert len(server.seen("initialize")) == opened + 2
    server.behave()
    stage.check(host, f"after {text}")


def test_a_session_id_that_fits_into_no_header_costs_no_answer(stage: Stage) -> None:
    def odd(request: Request) -> None:
        request.reply(200, request.result(), "application/json", "Mcp-Session-Id: caf\xe9\x01")

    host, server = stage.hosts["legacy"], stage.server
    server.forget_sessions()
    server.next("initialize", odd)
    refused = host.call("echo", text="odd session")
    assert refused["result"]["isError"]
    server.behave()
    server.forget_sessions()
    stage.check(host, "after the odd session")


# -- our own deadline ------------------------------------------------------------------------------------------


def drips(request: Request) -> None:
    request.carry_out()
    request.raw(head("HTTP/1.1 200 OK", "Content-Type: application/json", "Content-Length: 900") + b"{")
    request.never()


def streams_on(request: Request) -> None:
    request.carry_out()
    request.raw(SSE + b"data: " + NOTE + b"\n\n")
    request.never()


def cancelled(server: FaultUpstream) -> list[Any]:
    """The ids of the requests that the host, or we for it, do not wait for any more."""
    return [note.rpc["params"]["requestId"] for note in server.seen("notifications/cancelled")]


@ERAS
@pytest.mark.parametrize("act", [Request.never, drips, streams_on], ids=["silent", "dripping", "streaming"])
def test_a_call_that_takes_too_long_is_answered_before_the_host_gives_up_and_cancelled(
    stage: Stage, era: str, act: Act
) -> None:
    host, server, text = stage.hosts[f"hasty {era}"], stage.server, f"too long {act.__name__} {era}"
    server.next("tools/call", act)
    request = host.begin("echo", text=text)
    held = server.held(text)
    answer = host.answer(request)
    assert (reason_of(answer), text_of(answer).startswith(PERHAPS)) == ("timeout", True)
    if era == "legacy":  # there, a closed connection cancels nothing
        server.until(lambda: request in cancelled(server), "the cancellation came")
    assert held.left.wait(60), "the exchange is closed"
    assert answers_to(host, request) == 1
    assert len(server.seen("tools/call", text)) == 1
    stage.check(host, f"after {text}")


@pytest.mark.parametrize("step", ["initialize", "notifications/initialized"])
def test_a_server_that_hangs_while_a_session_is_opened_does_not_wedge_the_process(stage: Stage, step: str) -> None:
    host, server = stage.hosts["hasty legacy"], stage.server
    server.forget_sessions()
    server.next(step, Request.never)
    answer = host.call("echo", text=f"hangs at {step}")
    assert reason_of(answer) in ("timeout", UNREACHABLE)
    assert text_of(answer).startswith(DONE)
    eventually(lambda: not host.call("echo", text="x")["result"]["isError"], "it works again")
    stage.check(host, f"after hanging at {step}")


@ERAS
def test_a_list_that_nobody_remembers_and_nobody_answers_is_an_error_in_time(stage: Stage, era: str) -> None:
    host, server = stage.hosts[f"hasty {era}"], stage.server
    server.next("resources/list", Request.never)
    request = host.send("resources/list")
    assert host.answer(request)["error"]["data"]["reason"] == "timeout"
    stage.check(host, f"after the list {era}")
    assert answers_to(host, request) == 1


@ERAS
def test_a_list_that_hangs_is_served_from_memory(stage: Stage, era: str) -> None:
    host, server = stage.hosts[f"hasty {era}"], stage.server
    host.tools()
    server.next("tools/list", Request.never)
    request = host.send("tools/list")
    assert "echo" in [tool["name"] for tool in host.answer(request)["result"]["tools"]]
    stage.check(host, f"after the slow list {era}")
    assert answers_to(host, request) == 1


@ERAS
def test_a_stream_that_stays_open_behind_its_answer_is_closed(stage: Stage, era: str) -> None:
    """Or each call would leave a connection, until there are no more."""

    def lingers(request: Request) -> None:
        request.carry_out()
        request.raw(SSE + b"data: " + request.result() + b"\n\n")
        request.never()

    host, server, text = stage.hosts[era], stage.server, f"lingers {era}"
    server.next("tools/call", lingers)
    assert text_of(host.call("echo", text=text)) == text
    assert server.held(text).left.wait(60)


def test_a_handshake_that_hangs_is_answered_once(stage: Stage, tmp_path: Path) -> None:
    """Nothing is remembered, so the answer is made up; the server's silence is no second one."""
    scene = scene_before(tmp_path, stage.scene.provider, stage.server)
    for path in scene.cache.glob("finance-*"):
        path.unlink()
    stage.server.next("initialize", Request.never)
    config = scene.home / "config" / "config.toml"
    config.write_text(config.read_text() + '\n[host]\ncall_timeout = "1s"\n')
    with scene.host() as host:
        assert json.loads(host.lines[0])["id"] == 1
        refused = host.call("echo", text="nobody shook hands")
        assert text_of(refused).startswith(SENT)
        eventually(lambda: not host.call("echo", text="now")["result"]["isError"], "it works once the server does")
        assert answers_to(host, 1) == 1


# -- the provider -----------------------------------------------------------------------------------------------


def long_ago(scene: Scene) -> None:
    """The provider confirmed the person longer ago than is allowed, so the next call has to ask it."""
    session = scene.machine.state / "session.json"
    changed = session.with_suffix(".test")
    changed.write_text(json.dumps({**scene.session(), "confirmed_at": time.time() - 100_000}))
    os.replace(changed, session)


@pytest.mark.parametrize("fault", ["503", "drop-before"])
def test_a_provider_in_trouble_costs_no_call_until_the_person_must_be_confirmed(stage: Stage, fault: Any) -> None:
    scene, host = stage.scene, stage.hosts["legacy"]
    scene.provider.fault("/token", fault, times=2)  # a broken connection is tried twice
    stage.check(host, f"with the token at hand {fault}")
    long_ago(scene)
    refused = host.call("echo", text=f"unconfirmed {fault}")
    assert (reason_of(refused), text_of(refused).startswith(SENT)) == ("idp_unreachable", True)
    assert stage.server.seen("tools/call", f"unconfirmed {fault}") == []
    scene.provider.fault("/token", "503", times=0)
    eventually(lambda: not host.call("echo", text="again")["result"]["isError"], "the provider is asked again")


def test_a_provider_that_thinks_too_long_means_that_nothing_was_sent(stage: Stage) -> None:
    scene, host = stage.scene, stage.hosts["hasty legacy"]
    scene.provider.fault("/token", "hold")
    long_ago(scene)
    request = host.begin("echo", text="held at the provider")
    try:
        refused = host.answer(request)
        assert (reason_of(refused), text_of(refused).startswith(SENT)) == ("timeout", True)
    finally:
        scene.provider.release()
    eventually(lambda: not host.call("echo", text="again")["result"]["isError"], "the token came")
    assert stage.server.seen("tools/call", "held at the provider") == []


def test_a_provider_that_is_gone_ends_calls_when_the_person_must_be_confirmed(tmp_path: Path) -> None:
    with oidc_provider() as provider, fault_upstream() as server:
        scene = scene_before(tmp_path, provider, server)
        with scene.host() as host:
            warmed_up(host)
            scene.remember()
            provider.stop()
            assert text_of(host.call("echo", text="still confirmed")) == "still confirmed"
            long_ago(scene)
            refused = host.call("echo", text="not any more")
            assert (reason_of(refused), text_of(refused).startswith(SENT)) == ("idp_unreachable", True)
            assert server.seen("tools/call", "not any more") == []
        holds_in_the_trail(scene)
