"""The examples in configs/ are what the program reads, and every package that tests install is pinned."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from acp_stdio.oauth.asking import check_identity, check_scopes
from acp_stdio.oauth.presets import PRESETS, preset_of
from acp_stdio.settings import managed
from acp_stdio.settings.load import load
from tests.architecture.walk import ROOT

CONFIGS = ROOT / "configs"
EXAMPLES = sorted(CONFIGS.glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_read_without_a_problem(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    found = load(config=path, environ={"ACP_STDIO_HOME": str(tmp_path)})
    assert list(found.upstreams) == ["finance"]
    assert found.identity.preset == path.stem


def test_the_guide_has_a_configuration_for_each_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    guide = (CONFIGS / "guides" / "providers.md").read_text(encoding="utf-8")
    shown: set[str] = set()
    for text in re.findall(r"^```toml\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL):
        example = tmp_path / "config.toml"
        example.write_text(text, encoding="utf-8")
        found = load(config=example, environ={"ACP_STDIO_HOME": str(tmp_path)})
        check_identity(found.identity)
        (upstream,) = found.upstreams.values()
        check_scopes(upstream, preset_of(found.identity))
        shown.add(found.identity.preset)
    assert shown == set(PRESETS) - {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_what_an_example_shows_switched_off_could_be_switched_on(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    text = re.sub(r"^# (?=\[{1,2}[a-z.]+\]{1,2}$|[a-z_]+ = )", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    bundle = tmp_path / "company.pem"
    bundle.touch()
    text = text.replace("/etc/ssl/certs/company.pem", str(bundle))
    example = tmp_path / "config.toml"
    example.write_text(text, encoding="utf-8")
    found = load(config=example, environ={"ACP_STDIO_HOME": str(tmp_path)})
    assert found.upstreams["finance"].audience


def test_the_host_entry_starts_an_upstream_that_the_examples_know() -> None:
    entries = json.loads((CONFIGS / "claude_desktop_config.json").read_text(encoding="utf-8"))["mcpServers"]
    assert set(entries) == {"finance"}
    entry = entries["finance"]
    assert set(entry) == {"command", "args"}, "no environment, so no place for a token"
    assert Path(entry["command"]).name == "acp-stdio"
    assert Path(entry["command"]).is_absolute(), "hosts do not have the shell's PATH"
    assert entry["args"] == ["run", "finance"]
    assert shlex.join(entry["args"]) == "run finance", "nothing that a shell on Windows would break"


def test_every_package_that_tests_install_is_pinned_and_none_has_an_address() -> None:
    lines = (CONFIGS / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition(";")[0].strip() for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    pinned = {pin.partition("==")[0] for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [
        *project["dependencies"],
        *(need for extra in project["optional-dependencies"].values() for need in extra),
    ]
    names = {re.split(r"[\[<>=!~;, ]", need, maxsplit=1)[0].lower().replace("_", "-") for need in needed}
    assert names - {"acp-stdio"} <= pinned
