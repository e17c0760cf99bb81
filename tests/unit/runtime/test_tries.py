"""A server that is never content is given up, however many processes it asks through."""

import time
from pathlib import Path

import pytest

from acp_stdio.runtime.tries import TRIES, WITHIN, Tries


def test_a_few_tries_an_hour_for_each_upstream_over_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_900_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    processes = [Tries(tmp_path / "login.tries") for _ in range(2)]
    for number in range(TRIES):
        assert all(each.exhausted(["finance", "payroll"]) == [] for each in processes)
        processes[number % 2].count(["finance"])
    assert all(each.exhausted(["finance", "payroll"]) == ["finance"] for each in processes)
    assert Tries(tmp_path / "login.tries").exhausted(["finance"]) == ["finance"], "nor does a restart help"
    now[0] += WITHIN
    assert processes[0].exhausted(["finance"]) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"finance": 1}', b'{"finance": ["x"]}', b"\xff"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "login.tries"
    path.write_bytes(content)
    Tries(path).count(["finance"])
    assert Tries(path).exhausted(["finance"]) == []


def test_times_of_a_clock_that_was_wrong_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "login.tries"
    later = time.time() + 10 * WITHIN
    path.write_text(f'{{"finance": [{later}, {later}, {later}]}}')
    assert Tries(path).exhausted(["finance"]) == []
