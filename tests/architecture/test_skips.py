"""A skip is loud, and in CI it is a failure unless only another OS can run the test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.walk import ROOT
from tests.kit import skips

LISTED = "# comment\n\ntests/unit/test_mac.py::  # needs macOS\n"


def test_each_test_listed_as_os_only_exists_and_says_why() -> None:
    for test in skips.allowed(skips.OS_ONLY.read_text(encoding="utf-8")):
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), test
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text(encoding="utf-8"), test


def test_only_listed_tests_may_be_skipped() -> None:
    skipped = ["tests/unit/test_mac.py::test_a", "tests/unit/test_other.py::test_b"]
    assert skips.not_allowed(skipped, LISTED) == ["tests/unit/test_other.py::test_b"]
    assert skips.not_allowed(skipped[:1], LISTED) == []


def test_an_entry_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="gives no reason"):
        skips.allowed("tests/unit/test_mac.py::test_a")


def test_an_empty_list_allows_nothing() -> None:
    assert skips.not_allowed(["tests/a.py::test_a"], "# nothing\n") == ["tests/a.py::test_a"]


@pytest.mark.parametrize(("ci", "expected"), [("", False), ("0", False), ("false", False), ("true", True), ("1", True)])
def test_ci_is_known_by_its_variable(ci: str, expected: bool) -> None:
    assert skips.in_ci({"CI": ci}) is expected


def run(tmp_path: Path, code: str, ci: str) -> "subprocess.CompletedProcess[str]":
    """Runs pytest on one file under the house rules of tests/conftest.py."""
    (tmp_path / "test_made_up.py").write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "code",
    [
        "import pytest\ndef test_one():\n    pytest.skip('no keyring here')\ndef test_two():\n    pass\n",
        "import pytest\npytest.skip('no keyring here', allow_module_level=True)\n",
        "import pytest\n@pytest.fixture\ndef ring():\n    pytest.skip('no keyring here')\n"
        "def test_one(ring):\n    pass\n",
    ],
    ids=["test", "module", "fixture"],
)
def test_a_skip_fails_ci_and_is_loud_everywhere(tmp_path: Path, code: str) -> None:
    code += "def test_three():\n    pass\n" if "allow_module_level" not in code else ""
    at_home = run(tmp_path, code, "")
    assert "DID NOT RUN" in at_home.stdout
    assert "no keyring here" in at_home.stdout
    assert at_home.returncode in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
    in_ci = run(tmp_path, code, "true")
    assert "CI forbids 1 of these skips" in in_ci.stdout
    assert in_ci.returncode not in {pytest.ExitCode.OK}


def test_a_test_that_prints_an_issued_token_fails_and_the_token_is_not_shown(tmp_path: Path) -> None:
    code = (
        "import secrets\nfrom tests.kit import leaks\n"
        "def test_one():\n    token = secrets.token_urlsafe(40)\n    leaks.remember(token)\n    print('x', token)\n"
        "    assert token[:30] + 'y' == 'z'\n"
    )
    ran = run(tmp_path, code, "")
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert "shows what must stay secret" in ran.stdout
    assert "Captured stdout" not in ran.stdout


def test_a_passing_test_that_prints_an_issued_token_fails_too(tmp_path: Path) -> None:
    code = (
        "import logging, secrets\nfrom tests.kit import leaks\n"
        "def test_one():\n    token = secrets.token_urlsafe(40)\n    leaks.remember(token)\n"
        "    logging.getLogger('x').warning('got %s', token)\n"
    )
    ran = run(tmp_path, code, "")
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert "shows what must stay secret" in ran.stdout
