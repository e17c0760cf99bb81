"""The demo tells the truth: it ends with 0 only if all of it happened, and each broken part is noticed."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from acp_stdio.demo.agent import Agent, Answer
from acp_stdio.demo.parts import Parts
from acp_stdio.demo.people import INTERN, SARAH, SERVICE_ACCOUNT
from acp_stdio.demo.processes import Child
from acp_stdio.demo.stage import Desk
from acp_stdio.demo.story import StepFailed, Story
from acp_stdio.demo.voice import Voice

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]


def environment(folder: Path) -> dict[str, str]:
    """A person's environment with an empty home; the demo's own folder goes below it too."""
    home, temporary = folder / "home", folder / "tmp"
    home.mkdir()
    temporary.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}


def left_behind(folder: Path) -> list[str]:
    """Files below `folder`, and processes whose environment names it."""
    found = [str(path) for path in folder.rglob("*") if path.is_file()]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text(encoding="utf-8").replace("\0", " "))
    return found


def test_the_story_is_true_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "acp_stdio", "demo"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert not re.search(r"eyJ[\w-]{20,}\.", done.stdout)
    assert f"user={SERVICE_ACCOUNT}" in done.stdout
    assert f"user={SARAH.email}" in done.stdout
    assert f"{INTERN.email} may not read the CEO's pay" in " ".join(done.stdout.split())
    assert left_behind(tmp_path) == []


def test_programs_get_the_checked_steps_as_json(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "acp_stdio", "demo", "--json"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], len(told["steps"])) == (0, True, 10)
    assert set(told["seconds_until_refused"]) == {"sarah", "intern"}
    assert all(f"user={SERVICE_ACCOUNT} " in line for line in told["log_with_api_key"])
    assert not any(SERVICE_ACCOUNT in line for line in told["log_with_acp_stdio"])


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_in_the_middle_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "acp_stdio", "demo"],
        env=environment(tmp_path) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("3 "):
            break
    demo.send_signal(number)
    demo.communicate(timeout=60)
    assert demo.returncode == code
    assert left_behind(tmp_path) == []


def test_a_reader_who_goes_away_ends_it_without_a_zero(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "acp_stdio", "demo"],
        env=environment(tmp_path) | {"PYTHONIOENCODING": "ascii"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert demo.stdout is not None
    assert demo.stderr is not None
    demo.stdout.readline()
    demo.stdout.close()
    assert demo.stderr.read() == b""
    demo.stderr.close()
    assert demo.wait(60) == 1
    assert left_behind(tmp_path) == []


class NobodyAsks(Parts):
    """Answers made up instead of calls that were made."""

    def ask_with_key(self, agent: Child, finance: Mapping[str, Any], tool: str, **arguments: str) -> Answer:
        return Answer("The CEO is paid a lot", refused=False)


class NobodySignsIn(Parts):
    def login(self, desk: Desk) -> str:
        return "Signed in."


class TheWrongPersonSignsIn(Parts):
    def login(self, desk: Desk) -> str:
        stranger = INTERN if desk.person is SARAH else SARAH
        return super().login(_Impostor(stranger, desk.folder))


class _Impostor(Desk):
    """Somebody at another person's desk."""


class _Nameless(Child):
    def line(self, seconds: float) -> str:
        return re.sub(r"user=\S+", f"user={SERVICE_ACCOUNT}", super().line(seconds))


class TheBackendLogsNoNames(Parts):
    def finance_with_tokens(self, issuer: str) -> Child:
        arguments = ("--issuer", issuer, "--until-eof")
        return _Nameless("finance", "acp_stdio.demo.finance", *arguments, env={**os.environ, "HOME": str(self.folder)})


class _Generous(Agent):
    def call(self, tool: str, **arguments: str) -> Answer:
        answer = super().call(tool, **arguments)
        return Answer("The CEO is paid 612,000 a year", refused=False) if tool == "salary" else answer


class TheBackendAnswersTheIntern(Parts):
    def agent(self, desk: Desk) -> Agent:
        return _Generous(desk.person.account, desk.environment())


class TheBackendWithTheKeyPasses(Parts):
    def check_backend_with_key(self, issuer: str, finance: Mapping[str, Any]) -> dict[str, Any]:
        with self.agent_with_key() as agent:
            self.ask_with_key(agent, finance, "quarterly_report", quarter="Q3")
        return {"ok": True, "next": "", "findings": []}


class TheRuleIsNotWritten(Parts):
    def agent(self, desk: Desk) -> Agent:
        return _Unruled(desk)


class _Unruled(Agent):
    """An agent whose rules change back before anybody looks."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.person.account, desk.environment())
        self._config = desk.folder / "config" / "config.toml"
        self._text = self._config.read_text()

    def call(self, tool: str, **arguments: str) -> Answer:
        self._config.write_text(self._text)
        return super().call(tool, **arguments)


class TheLeaverKeepsTheAccount(Parts):
    def disable(self, idp: Mapping[str, Any], account: str) -> None:
        return


class TheIdpIsDownInstead(Parts):
    """A refusal, but not because anybody left."""

    def idp(self) -> Child:
        self._running = super().idp()
        return self._running

    def disable(self, idp: Mapping[str, Any], account: str) -> None:
        self._running.close()


class LogoutDoesNothing(Parts):
    def logout(self, desk: Desk) -> str:
        return "Signed out."


class LogoutForgetsToRevoke(Parts):
    def live_sign_ins(self, idp: Mapping[str, Any], account: str) -> int:
        return 1


class TheTrailIsGone(Parts):
    def logout(self, desk: Desk) -> str:
        said = super().logout(desk)
        for folder in {file.parent for file in desk.state.rglob("*.jsonl")}:
            shutil.rmtree(folder)
        return said


class VerifyBelievesAnything(Parts):
    def verify(self, desk: Desk) -> dict[str, Any]:
        return {"whole": True, "findings": [], "records": 1, "checkpoints": 0}


@pytest.mark.parametrize(
    ("broken", "step", "why"),
    [
        (NobodyAsks, "one_key_for_everybody", "said nothing"),
        (NobodySignsIn, "everybody_signs_in", "browser should say"),
        (TheWrongPersonSignsIn, "everybody_signs_in", "browser should say"),
        (TheBackendLogsNoNames, "the_log_names_the_person", "log should say user=sarah"),
        (TheBackendAnswersTheIntern, "the_log_names_the_person", "refused the intern"),
        (TheBackendWithTheKeyPasses, "both_backends_are_checked", "should have failed the server with the key"),
        (TheRuleIsNotWritten, "a_rule_counts_at_once", "the rule should refuse it"),
        (TheLeaverKeepsTheAccount, "the_leaver_is_out", "still served"),
        (TheIdpIsDownInstead, "the_leaver_is_out", "not 'idp_unreachable'"),
        (LogoutDoesNothing, "logout_ends_it", "still served"),
        (LogoutForgetsToRevoke, "logout_ends_it", "revoked at the IdP"),
        (TheTrailIsGone, "the_trail_agrees", "trail should hold"),
        (VerifyBelievesAnything, "a_forged_line_is_found", "should have found the forged line"),
    ],
)
def test_a_broken_part_is_noticed_at_its_step(broken: type[Parts], step: str, why: str, tmp_path: Path) -> None:
    with Story(broken(tmp_path), Voice(None)) as story, pytest.raises(StepFailed) as failed:
        story.tell()
    assert failed.value.step == step
    assert why in failed.value.why


def test_a_failed_story_is_exit_code_1_and_names_the_step(tmp_path: Path) -> None:
    script = (
        "import sys; from acp_stdio.demo import parts; from acp_stdio.cli.main import main;"
        "parts.Parts.login = lambda self, desk: ''; sys.exit(main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "everybody_signs_in" in done.stderr
    assert left_behind(tmp_path) == []
