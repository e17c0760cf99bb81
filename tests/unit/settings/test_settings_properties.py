"""Whatever a file holds: settings, or a Failure in words. Never a traceback."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_stdio.errors import Failure
from acp_stdio.settings import checks
from acp_stdio.settings.durations import seconds, spell
from acp_stdio.settings.load import EXAMPLE, build
from acp_stdio.settings.model import Settings
from acp_stdio.settings.paths import user_paths
from acp_stdio.settings.sources import Problems, Source, parse

PATH = Path("/home/sarah/config.toml")
KEYS = [
    "version",
    "identity",
    "upstreams",
    "audit",
    "network",
    "storage",
    "host",
    "policy",
    "issuer",
    "client_id",
    "preset",
    "flow",
    "redirect",
    "scopes",
    "require_account",
    "recheck_identity",
    "user_key",
    "user_label",
    "url",
    "transport",
    "token_request",
    "audience",
    "path",
    "proxy",
    "ca_bundle",
    "backend",
    "key_file",
    "directory",
    "helper_tools",
    "call_timeout",
    "finance",
    "client_secret",
    "client_secret_ref",
    "client_metadata_url",
    "principal",
]
TEXTS = [
    "generic",
    "entra",
    "device",
    "https://a.example/mcp",
    "http://127.0.0.1:0/callback",
    "openid",
    "15m",
    "file",
    "auto",
    "http",
    "/tmp/x",
    "~/x",
    "~nobody/x",
    "https://[",
    "http://127.0.0.1:99999",
]

keys = st.sampled_from(KEYS) | st.text(max_size=8)
leaves = st.sampled_from(TEXTS) | st.text(max_size=20) | st.integers() | st.floats() | st.booleans() | st.datetimes()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=8,
)
documents = st.dictionaries(keys, values, max_size=8)


def built(data: dict[str, Any], problems: Problems | None = None, *targets: str) -> Settings | Failure:
    paths = user_paths({"ACP_STDIO_HOME": "/home/sarah"})
    try:
        return build(
            [Source(PATH, "", data)],
            user=PATH,
            paths=paths,
            profile="default",
            targets=targets,
            problems=problems or Problems(),
        )
    except Failure as failure:
        return failure


@given(documents, st.lists(st.text(max_size=20) | st.sampled_from(TEXTS), max_size=2))
def test_any_mapping_gives_settings_or_a_failure_in_words(data: dict[str, Any], targets: list[str]) -> None:
    found = built(data, None, *targets)
    if isinstance(found, Failure):
        assert found.reason == "configuration_invalid"
        assert len(found.message.splitlines()) > 1
    else:
        assert found.identity.issuer == "" or not checks.issuer(found.identity.issuer)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_become_a_problem(content: bytes) -> None:
    problems = Problems()
    source = parse(PATH, content, problems)
    assert source.data == {} or not problems.found


@given(
    st.integers(0, len(EXAMPLE)),
    st.integers(0, len(EXAMPLE)),
    st.sampled_from(["", "=", '"', "[", "]", "x", "\n"]),
)
def test_a_damaged_file_is_reported_and_never_read_as_another_meaning(start: int, length: int, put: str) -> None:
    text = EXAMPLE[:start] + put + EXAMPLE[start + length :]
    problems = Problems()
    source = parse(PATH, text.encode(), problems)
    found = built(source.data, problems)
    if isinstance(found, Settings):
        assert found.identity.issuer == "" or found.identity.issuer.startswith("https://")
        assert all(upstream.url.startswith("https://") for upstream in found.upstreams.values())


@given(documents)
def test_the_line_of_any_key_is_found_without_harm(data: dict[str, Any]) -> None:
    source = Source(PATH, "\n".join(f"[{key}]\n{key} = 1" for key in data), data)
    for key in data:
        assert 0 <= source.line((key, key)) <= source.text.count("\n") + 1


@given(st.integers(0, 10**9))
def test_a_length_of_time_survives_being_spelled(length: int) -> None:
    assert seconds(spell(length)) == length


@pytest.mark.parametrize("text", ["", "5", "-5s", "1.5h", "5 m", "5M", "m", "1m1h", "1s1s", "٣s", "9999999999s"])
def test_a_length_of_time_without_a_clear_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(text)}$"):
        seconds(text)
