"""Which eras a server speaks: found out by what it answers, remembered, and asked again when it stops fitting."""

import json
from typing import Any

import pytest

from acp_stdio.catalogue.model import DISCOVER, NO_ERA, Catalogue, speaks
from acp_stdio.relay.commands import Learn, Post
from tests.kit.playbook import Playbook, hello, only, posts, told, welcome

MODERN: dict[str, Any] = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}
KNOWN_MODERN: Catalogue = {DISCOVER: json.dumps(MODERN).encode()}
KNOWN_LEGACY: Catalogue = {"initialize 2025-11-25": json.dumps(welcome()).encode(), DISCOVER: NO_ERA}


def error(code: int) -> dict[str, Any]:
    return {"code": code, "message": "no"}


def ask_both(book: Playbook) -> tuple[bool | None, bool | None]:
    """What is known of the legacy and of the modern era."""
    return speaks(book.catalogue, modern=False), speaks(book.catalogue, modern=True)


def test_of_a_server_never_seen_nothing_is_known() -> None:
    assert ask_both(Playbook()) == (None, None)


def test_each_era_has_its_own_evidence_since_a_server_may_speak_both() -> None:
    book = Playbook()
    book.open_session()
    assert ask_both(book) == (True, None)
    posted = book.call_of(book.modern_call(1, "server/discover"))
    book.upstream(posted, id=1, result=MODERN)
    assert ask_both(book) == (True, True)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 410, 415, 422])
def test_a_4xx_without_a_modern_error_means_legacy(status: int) -> None:
    book = Playbook()
    book.ended(book.call_of(book.modern_call(1, "server/discover")), status, body=b"Bad Request")
    assert ask_both(book) == (None, False)


@pytest.mark.parametrize("code", [-32601, -32600, -32602, -32000, 5])
def test_any_error_that_is_not_the_modern_eras_own_means_legacy_whatever_its_code(code: int) -> None:
    book = Playbook()
    posted = book.call_of(book.modern_call(1, "server/discover"))
    assert told(book.upstream(posted, id=1, error=error(code)))[0]["error"]["code"] == code
    assert ask_both(book) == (None, False)


@pytest.mark.parametrize("code", [-32020, -32021, -32022])
def test_a_modern_error_is_no_reason_to_fall_back(code: int) -> None:
    book = Playbook()
    posted = book.call_of(book.modern_call(1, "server/discover"))
    book.upstream(posted, id=1, error=error(code))
    assert ask_both(book) == (None, None)


@pytest.mark.parametrize("status", [None, 401, 403, 407, 408, 425, 429, 500, 503])
def test_a_network_that_fails_and_a_refused_sign_in_are_no_verdict(status: int | None) -> None:
    book = Playbook()
    book.ended(book.call_of(book.modern_call(1, "server/discover")), status)
    book.ended(book.call_of(book.host(id=2, method="initialize", params=hello())), status)
    assert ask_both(book) == (None, None)


@pytest.mark.parametrize("code", [-32601, -32022])
def test_a_server_that_refuses_initialize_is_asked_what_it_is(code: int) -> None:
    book = Playbook()
    posted = book.call_of(book.host(id=0, method="initialize", params=hello()))
    (asked,) = only(book.upstream(posted, id=0, error=error(code)), Post)
    assert dict(asked.headers)["Mcp-Method"] == "server/discover"
    frame = json.loads(asked.raw)
    assert frame["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"] == "claude-ai"
    assert ask_both(book) == (False, None)
    (greeting,) = told(book.upstream(asked.call, id=frame["id"], result=MODERN))
    assert (greeting["id"], greeting["result"]["protocolVersion"]) == (0, "2025-11-25")
    assert ask_both(book) == (False, True)


def test_an_error_of_another_kind_to_initialize_is_no_verdict() -> None:
    book = Playbook()
    posted = book.call_of(book.host(id=0, method="initialize", params=hello()))
    assert posts(book.upstream(posted, id=0, error=error(-32603))) == []
    assert ask_both(book) == (None, None)


def test_a_remembered_answer_is_given_at_once_and_asked_for_again_behind_it() -> None:
    book = Playbook(dict(KNOWN_MODERN))
    done = book.modern_call(1, "server/discover")
    assert told(done)[0]["result"] == MODERN
    newer = {**MODERN, "instructions": "new"}
    done = book.upstream(book.call_of(done), id="acp-stdio/discover", result=newer)
    assert told(done) == []
    assert [json.loads(learn.result) for learn in only(done, Learn)] == [newer]


def test_a_server_that_has_become_modern_is_found_out_and_this_process_keeps_its_word() -> None:
    book = Playbook(dict(KNOWN_LEGACY))
    done = book.modern_call(1, "server/discover")
    assert told(done)[0]["error"]["code"] == -32601
    probe = book.call_of(done)
    (greeting, _) = book.host(id=2, method="initialize", params=hello())[:2]
    assert told([greeting])[0]["result"]["protocolVersion"] == "2025-11-25"
    assert told(book.upstream(probe, id="acp-stdio/discover", result=MODERN)) == []
    assert ask_both(book) == (True, True)


def test_a_server_that_has_become_legacy_does_not_change_what_the_host_was_told() -> None:
    book = Playbook(dict(KNOWN_MODERN))
    probe = book.call_of(book.modern_call(1, "server/discover"))
    assert told(book.ended(probe, 404)) == []
    assert ask_both(book) == (None, False)
    assert book.relay.modern


def test_a_call_that_shows_that_the_era_stopped_fitting_asks_again() -> None:
    book = Playbook(dict(KNOWN_MODERN))
    done = book.ended(book.call_of(book.modern_call(1, name="pay")), 400, body=b"Missing session")
    assert told(done)[0]["result"]["_meta"]["io.github.acp-stdio/reason"] == "era_mismatch"
    assert [post["method"] for post in posts(done)] == ["server/discover"]
    again = book.ended(book.call_of(book.modern_call(2, name="pay")), 400, body=b"Missing session")
    assert posts(again) == [], "one question at a time"


def test_a_server_that_has_given_up_the_legacy_era_is_remembered_so_for_every_version() -> None:
    book = Playbook(dict(KNOWN_LEGACY))
    posted = book.call_of(book.host(id=0, method="initialize", params=hello("2025-06-18")))
    asked = book.call_of(book.upstream(posted, id=0, error=error(-32022)))
    assert ask_both(book) == (False, None)
    assert told(book.ended(asked, 404))[0]["error"]["code"] == -32601
    assert ask_both(book) == (False, False)


def test_a_host_that_sends_a_request_of_the_other_era_keeps_its_session() -> None:
    book = Playbook()
    book.open_session()
    (stateless,) = only(book.modern_call(1, name="a"), Post)
    assert ("MCP-Protocol-Version", "2026-07-28") in stateless.headers
    (within,) = only(book.host(id=2, method="tools/call", params={"name": "b"}), Post)
    assert within.headers == (("Mcp-Session-Id", "S1"), ("MCP-Protocol-Version", "2025-11-25"))
    assert told(book.ended(stateless.call, 400))[0]["id"] == 1
    assert book.mind is book.relay
    (answer,) = told(book.upstream(within.call, id=2, result={"content": []}))
    assert answer == {"jsonrpc": "2.0", "id": 2, "result": {"content": []}}


def test_signed_out_nothing_is_asked_behind_a_remembered_answer_before_the_sign_in() -> None:
    book = Playbook(dict(KNOWN_MODERN), signed_in=False)
    assert posts(book.modern_call(1, "server/discover")) == []
    assert [post["method"] for post in posts(book.relay.signed_in(0.0))] == ["server/discover"]
