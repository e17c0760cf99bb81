"""What a host waits for at each start: `run` loads none of the heavy libraries that only a sign-in needs."""

import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from tests.architecture.walk import ROOT

HEAVY = frozenset(
    {"httpx2", "httpcore2", "keyring", "secretstorage", "jwt", "authlib", "joserfc", "cryptography", "mcp"}
    | {"pydantic", "flask", "werkzeug", "starlette", "uvicorn", "requests", "hypothesis"}
    | {"opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http", "opentelemetry.trace", "google.protobuf"}
    | {"http.server", "http.client", "webbrowser", "argparse", "platformdirs", "importlib.metadata", "sqlite3"}
)
ARGPARSE = frozenset({"argparse"})

CONFIG = """
[identity]
issuer = "http://127.0.0.1:1"
client_id = "acp-stdio"
[upstreams.finance]
url = "http://127.0.0.1:1/mcp"
"""
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


def loaded(home: Path, arguments: list[str], stdin: str = "") -> tuple[set[str], "subprocess.CompletedProcess[str]"]:
    """The modules that one command imports, told by the interpreter itself."""
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=ROOT,
        env={**os.environ, "ACP_STDIO_HOME": str(home), "PYTHONPATH": str(ROOT)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in ran.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}, ran


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def test_a_start_that_answers_a_host_loads_nothing_that_only_a_sign_in_needs(home: Path) -> None:
    modules, ran = loaded(home, ["-m", "acp_stdio", "run", "finance"], json.dumps(INITIALIZE) + "\n")
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert json.loads(ran.stdout.splitlines()[0])["id"] == 1
    assert modules & HEAVY == set()
    assert not [name for name in modules if name.startswith("acp_stdio.relay.bridge")], "nothing is to be translated"


def test_a_start_with_a_collector_leaves_its_libraries_to_another_process(home: Path) -> None:
    collector = '[audit]\notlp = "http://127.0.0.1:1"\ndeliver = "required"\n'
    (home / "config" / "config.toml").write_text(CONFIG + collector, encoding="utf-8")
    modules, ran = loaded(home, ["-m", "acp_stdio", "run", "finance"], json.dumps(INITIALIZE) + "\n")
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "acp_stdio.runtime.exporting" in modules
    assert modules & HEAVY == set()


def test_the_help_of_run_loads_no_network_and_no_keyring(home: Path) -> None:
    modules, ran = loaded(home, ["-m", "acp_stdio", "run", "--help"])
    assert ran.returncode == 0
    assert "acp-stdio run" in ran.stdout
    assert modules & (HEAVY - ARGPARSE) == set()


def test_reading_the_settings_loads_little(home: Path) -> None:
    code = "import os; from acp_stdio.settings.load import load; load(environ=os.environ)"
    modules, ran = loaded(home, ["-c", code])
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert modules & (HEAVY | {"difflib", "asyncio", "anyio", "ssl", "msgspec", "json"}) == set()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX owners and permissions")
def test_signed_rules_cost_a_start_nothing_and_the_first_call_their_check(home: Path) -> None:
    """Unsigned ones load no cryptography at any time; see `settings.signed_rules.read` for what it costs."""
    place = home / "etc" / "config.toml"
    place.parent.mkdir(mode=0o755)
    key = b64encode(bytes.fromhex("302a300506032b6570032100") + bytes(32)).decode()
    first = (
        "import os, pathlib; from acp_stdio.settings import managed\n"
        f"managed.PLACE, managed.ADMINISTRATOR = pathlib.Path({str(place)!r}), os.getuid()\n"
    )
    start = first + "from acp_stdio.settings.load import load; load(environ=os.environ, signed=False)\n"
    call = start + (
        "from acp_stdio.settings.policy_files import PolicyFiles\n"
        f"files = PolicyFiles(pathlib.Path({str(home / 'config' / 'config.toml')!r}), pathlib.Path({str(home)!r}))\n"
        "try: files.current()\n"
        "except Exception as problem: print(problem)\n"
    )
    (home / "rules.toml").write_text("serial = 1\n[policy]\n", encoding="utf-8")
    (home / "rules.toml.sig").write_text("AAAA", encoding="utf-8")
    for text, code, loads in (
        ("[policy]\ndefault = 'deny'\n", call, False),
        (f"[policy]\nfile = '{home / 'rules.toml'}'\nkey = '{key}'\n", start, False),
        (f"[policy]\nfile = '{home / 'rules.toml'}'\nkey = '{key}'\n", call, True),
    ):
        place.write_text(text, encoding="utf-8")
        os.utime(place, (1_700_000_000, 1_700_000_000))
        modules, ran = loaded(home, ["-c", code])
        assert ran.returncode == 0, ran.stderr[-2000:]
        assert ("cryptography" in modules) is loads
        assert ("is not as it was signed" in ran.stdout) is loads


def test_the_budget_would_notice_a_heavy_import(home: Path) -> None:
    modules, _ = loaded(home, ["-c", "import webbrowser"])
    assert modules & HEAVY == {"webbrowser"}
