"""Times are said as people say them, and a wrong clock is said too."""

import pytest

from acp_stdio.cli.times import ago, ahead, span


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "1 minute"),
        (7199, "1 hour"),
        (7200, "2 hours"),
        (200_000, "2 days"),
    ],
)
def test_a_span_is_rounded_down_to_its_largest_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_ago_and_ahead() -> None:
    assert ago(100.0, 102.0) == "just now"
    assert ago(100.0, 400.0) == "5 minutes ago"
    assert "check this computer's clock" in ago(1000.0, 100.0)
    assert ahead(400.0, 100.0).startswith("5 minutes (until ")
    assert ahead(1.0, 100.0).startswith("0 seconds")
