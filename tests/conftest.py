"""Holds for every test: no token in its output, and no silent skip."""

import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.kit import leaks, skips

# No deadline, since a busy machine is no failure; new examples are looked for at home and not in CI.
settings.register_profile("house", deadline=None, derandomize=skips.in_ci())
settings.load_profile("house")

_SKIPPED = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell that starts us in the background has us ignore Ctrl-C, and our children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[_SKIPPED] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick rings first: a wrong rule shows before real parts are started."""
    rings = ("unit", "architecture", "protocol")

    def ring(item: pytest.Item) -> int:
        if item.get_closest_marker("real"):
            return len(rings)
        return next((place for place, name in enumerate(rings) if name in item.path.parts), len(rings))

    items.sort(key=ring)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a test whose output, log or failure text holds a secret that a test server issued."""
    report = yield
    secrets = leaks.issued()
    texts = [report.longreprtext, *(text for _, text in report.sections)]
    if secrets and any(texts) and (found := leaks.scan(secrets, texts=texts)):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} shows what must stay secret: {', '.join(found)}"
        report.sections = []
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        item.config.stash[_SKIPPED][item.nodeid] = reason.removeprefix("Skipped: ")
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A whole file that skips itself counts like a test."""
    if report.skipped:
        _collected[report.nodeid] = report.longreprtext


_collected: dict[str, str] = {}


def _all_skipped(config: pytest.Config) -> dict[str, str]:
    return {**_collected, **config.stash[_SKIPPED]}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    listed = skips.OS_ONLY.read_text(encoding="utf-8")
    if exitstatus == 0 and skips.in_ci() and skips.not_allowed(_all_skipped(session.config), listed):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    listed = skips.OS_ONLY.read_text(encoding="utf-8")
    if lines := skips.summary(_all_skipped(config), listed, ci=skips.in_ci()):
        terminalreporter.section("SKIPPED", sep="!", red=True)
        for line in lines:
            terminalreporter.write_line(line)
