"""`acp-stdio audit`, as people and scripts use it."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.audit import chain
from acp_stdio.audit.arguments import KEY_FILE, Arguments
from acp_stdio.audit.checkpoint import sign
from acp_stdio.audit.folder import Folder
from acp_stdio.audit.record import Context, Record, call_record, event_record, record_id
from acp_stdio.audit.trail import Trail
from acp_stdio.cli.main import main
from acp_stdio.settings import managed
from acp_stdio.vault.device_key import device_key
from tests.kit.memory_vault import MemoryVault

CONFIG = """
[identity]
issuer = "http://127.0.0.1:1"
client_id = "acp-stdio"
[upstreams.finance]
url = "http://127.0.0.1:1/mcp"
"""
USERS = {name: {"sub": f"u-{name}", "iss": "https://idp", "label": f"{name}@acme.example"} for name in ("sarah", "tom")}


def call(event: str, number: str, who: str, tool: str, **more: Any) -> Record:
    made = call_record(
        event,
        Context(USERS[who], "laptop", "finance"),
        record=number if event == "call.intent" else record_id(),
        call=number,
        now=1795459327.5,
        method="tools/call",
        tool=tool,
        agent=("claude-ai", "0.1"),
        arguments_bytes=2,
        trace=f"00-{'a' * 32}-{'b' * 16}-01",
        token=None,
    )
    return {**made, **more}


@pytest.fixture
def calls() -> list[str]:
    return [record_id() for _ in range(3)]


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> Path:
    """Sarah's report went well, Tom's =payments did not; a third of hers is still open; all of it is signed."""
    monkeypatch.setattr(managed, "PLACE", tmp_path / "none")
    monkeypatch.setenv("ACP_STDIO_HOME", str(tmp_path))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(CONFIG, encoding="utf-8")
    folder = tmp_path / "state" / "default" / "audit"
    with Trail(folder) as trail:
        trail.append(event_record("login", user=USERS["sarah"], now=1795459000.0))
        trail.append(call("call.intent", calls[0], "sarah", "report"))
        ended = {"outcome": "ok", "reason": "", "duration_ms": 12}
        trail.append(call("call.outcome", calls[0], "sarah", "report", **ended))
        trail.append(call("call.intent", calls[1], "tom", "=payments"))
        ended = {"outcome": "denied", "reason": "forbidden", "policy": {"rule": "user/no", "decision": "deny"}}
        trail.append(call("call.outcome", calls[1], "tom", "=payments", **ended))
    sign(Folder(folder), device_key(MemoryVault(), tmp_path / "state"))
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["audit", *words])
    return code, capsys.readouterr().out


def test_tail_and_show_tell_what_was_done_one_record_a_line(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, "tail", "-n", "2")
    assert code == 0
    assert [line.split("  ")[1] for line in text.splitlines()] == ["call.intent", "call.outcome"]
    assert "tom@acme.example  claude-ai/0.1  finance/=payments  denied  forbidden" in text
    code, text = said(capsys, "show", "--who", "SARAH", "--tool", "rep*", "--outcome", "ok", "--json")
    assert [record["tool"] for record in json.loads(text)["records"]] == ["report"]
    assert said(capsys, "show", "--upstream", "other") == (0, "")
    assert said(capsys, "show", "--since", "1d")[1] == ""


def test_what_has_not_reached_the_collector_is_said(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = audit.parents[2] / "config" / "config.toml"
    assert json.loads(said(capsys, "show", "--json")[1])["delivery"] is None
    config.write_text(CONFIG + '[audit]\notlp = "https://otlp.example.com"\n', encoding="utf-8")
    assert main(["audit", "show"]) == 0
    assert "6 records have not reached https://otlp.example.com, the oldest of 20" in capsys.readouterr().err
    told = json.loads(said(capsys, "show", "--json")[1])["delivery"]
    assert (told["otlp"], told["undelivered"]) == ("https://otlp.example.com", 6)


def test_one_record_is_shown_in_full_and_a_stranger_is_said_to_be_none(
    audit: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(capsys, "show", calls[0])
    assert code == 0
    assert text.count('"report"') == 2
    assert main(["audit", "show", "nobody"]) == 9


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_an_export_has_a_json_object_a_line(audit: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = said(capsys, "export", "--format", form)
    assert len([json.loads(line) for line in text.splitlines()]) == 5
    if form == "jsonl":
        assert [chain.read(line.encode())["seq"] for line in text.splitlines()] == [2, 3, 4, 5, 6]


def test_ocsf_has_what_the_class_and_its_objects_require(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`"requirement": "required"` in OCSF 1.8.0: events/base_event.json, application/api_activity.json, objects/*."""
    _, text = said(capsys, "export", "--format", "ocsf")
    for event in map(json.loads, text.splitlines()):
        required = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
        assert required | {"actor", "api", "src_endpoint"} <= set(event)
        assert (event["category_uid"], event["class_uid"], event["type_uid"]) == (
            6,
            6003,
            600300 + event["activity_id"],
        )
        assert event["activity_id"] == 99
        assert event["activity_name"]  # required where the activity is 99, "Other"
        assert {"product", "version"} <= set(event["metadata"])
        assert event["api"]["operation"]
        assert event["api"]["request"]["uid"]
        assert event["actor"]["user"]["uid"].startswith("u-")
        assert isinstance(event["time"], int)
        assert all(each["decision"] for each in event["actor"].get("authorizations", []))
    statuses = [json.loads(line)["status_id"] for line in text.splitlines()]
    assert statuses == [1, 0, 1, 0, 2]


def test_csv_is_a_table_that_runs_no_formula(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = said(capsys, "export", "--format", "csv", "--who", "tom")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["tool"] for row in rows] == ["'=payments"] * 2
    assert (rows[1]["outcome"], rows[1]["policy_rule"], rows[1]["agent"]) == ("denied", "user/no", "claude-ai")


def test_verify_says_that_it_is_whole_what_is_signed_and_what_could_still_be_forged(
    audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(capsys, "verify")
    assert code == 0
    assert "is whole: 6 records in 1 files." in text
    assert "Signed 1 times with urn:ietf:params:oauth:jwk-thumbprint:sha-256:" in text
    assert "0 records are newer" in text
    assert "Whoever can run programs as this user can ask the keyring for the signing key" in text


def test_verify_ends_with_9_and_names_the_first_bad_record(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = audit.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"denied"', b'"unsaid"'))
    code, text = said(capsys, "verify")
    assert code == 9
    assert f"{path.name}, record 6: its content is not what its hash says" in text
    code, text = said(capsys, "verify", "--json")
    assert (code, json.loads(text)["findings"][0]["record"]) == (9, 6)


def test_a_checkpoint_that_was_kept_elsewhere_shows_a_rewritten_trail(
    audit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text(json.loads(said(capsys, "verify", "--json")[1])["checkpoint"])
    assert said(capsys, "verify", "--anchor", str(kept))[0] == 0
    for path in audit.iterdir():
        path.unlink()
    assert said(capsys, "verify")[0] == 0
    assert said(capsys, "verify", "--anchor", str(kept))[0] == 9


def test_join_tells_what_only_one_side_has(
    audit: Path, calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "backend.log"
    mine = [f"user=sarah tool=report request={name} outcome=ok" for name in calls[:2]]
    log.write_text("\n".join([*mine, "GET /health 200"]), encoding="utf-8")
    code, text = said(capsys, "join", ".", str(log))
    assert (code, text) == (0, "2 calls are in the trail and in the server's log.\n")
    stranger = f"user=eve tool=report request={record_id()} outcome=ok"
    log.write_text("\n".join([mine[0], stranger, "user=service tool=report outcome=ok"]), encoding="utf-8")
    code, text = said(capsys, "join", str(audit), str(log), "--json")
    told = json.loads(text)
    assert (code, told["clean"], len(told["matched"])) == (9, False, 1)
    assert [record["id"] for record in told["only_local"]] == [calls[1]]
    assert told["only_backend"] == [stranger, "user=service tool=report outcome=ok"]
    code, text = said(capsys, "join", str(audit), str(log))
    assert "somebody goes round this trail" in text


def test_join_takes_an_export_in_the_place_of_a_folder(
    audit: Path, calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, log = tmp_path / "trail.jsonl", tmp_path / "backend.log"
    exported.write_text(said(capsys, "export")[1], encoding="utf-8")
    log.write_text("\n".join(f"request={name}" for name in calls[:2]), encoding="utf-8")
    assert said(capsys, "join", str(exported), str(log))[0] == 0
    exported.write_text("no record\n", encoding="utf-8")
    assert main(["audit", "join", str(exported), str(log)]) == 9
    assert "line 1 is no record" in capsys.readouterr().err


def test_following_tells_each_new_record_once_also_of_a_process_that_begins_meanwhile(
    audit: Path, calls: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def next_look(_seconds: float) -> None:
        looks.append(capsys.readouterr().out)
        if len(looks) == 3:
            raise KeyboardInterrupt
        with Trail(audit) as trail:
            trail.append(call("call.denied", calls[2], "tom", f"tool-{len(looks)}", outcome="denied", reason="denied"))

    monkeypatch.setattr("acp_stdio.cli.audit.time.sleep", next_look)
    assert main(["audit", "tail", "-n", "1", "--follow"]) == 130
    assert [look.count("\n") for look in looks] == [1, 1, 1]
    assert "finance/tool-1" in looks[1]
    assert "finance/tool-2" in looks[2]


def test_what_somebody_shows_can_be_held_against_a_calls_digest(
    audit: Path, calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = tmp_path / "arguments.json"
    shown.write_text('{ "month": "May" }', encoding="utf-8")
    assert main(["audit", "show", calls[0], "--arguments", str(shown)]) == 9
    assert "can be compared" in capsys.readouterr().err
    digest = Arguments("digest", tmp_path / "state" / KEY_FILE).about(b'{"arguments":{"month":"May"}}', 1)
    with Trail(audit) as trail:
        trail.append(call("call.intent", calls[2], "sarah", "report", arguments=digest))
        trail.append(call("call.outcome", calls[2], "sarah", "report", outcome="ok", arguments=digest))
    assert said(capsys, "show", calls[2], "--arguments", str(shown)) == (0, "These were the arguments.\n")
    shown.write_text('{"month": "June"}', encoding="utf-8")
    assert said(capsys, "show", calls[2], "--arguments", str(shown)) == (9, "These were not the arguments.\n")
