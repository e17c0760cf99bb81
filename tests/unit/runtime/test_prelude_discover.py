"""The prelude answers a `server/discover` only where nothing is wrong with it."""

import json
from typing import Any

import pytest

from acp_stdio.runtime.prelude import answer_to
from tests.kit.playbook import MODERN_META

KNOWN = {"server/discover": '{"supportedVersions":["2026-07-28"]}'}
VERSION = "io.modelcontextprotocol/protocolVersion"


def ask(params: Any) -> bytes | None:
    frame = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": params}
    return answer_to(json.dumps(frame).encode(), KNOWN)


def test_a_discover_that_is_remembered_is_answered() -> None:
    answer = ask({"_meta": MODERN_META})
    assert answer is not None
    assert json.loads(answer)["result"] == json.loads(KNOWN["server/discover"])


@pytest.mark.parametrize(
    "params",
    [
        {},
        [],
        {"_meta": "text"},
        {"_meta": {VERSION: "2026-07-28"}},
        {"_meta": {**MODERN_META, VERSION: "v999.0.0"}},
    ],
)
def test_any_other_is_left_to_the_relay_which_says_what_is_wrong(params: Any) -> None:
    assert ask(params) is None
