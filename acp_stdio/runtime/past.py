"""The calls of a trail, oldest first, for rules to be tried on."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from acp_stdio.errors import Failure
from acp_stdio.policy.replay import JUDGED, Past
from acp_stdio.policy.rules import Clock
from acp_stdio.settings.durations import seconds


def calls_of(directory: Path, since: str = "") -> list[Past]:
    """All calls in the trail's files, or those of the last `since` (`7d`). Lines that were torn are passed over.

    Raises `Failure("configuration_invalid")` for a length of time that is none.
    """
    try:
        begin = time.time() - seconds(since) if since else 0.0
    except ValueError:
        raise Failure("configuration_invalid", "--since must be a length of time such as 7d or 12h.", "") from None
    return sorted((past for past in _calls(directory) if past.at >= begin), key=lambda past: past.at)


def _calls(directory: Path) -> Iterator[Past]:
    for path in directory.rglob("*.jsonl"):
        with path.open("rb") as file:
            for line in file:
                past = _past(line)
                if past is not None:
                    yield past


def _past(line: bytes) -> Past | None:
    try:
        data: Any = json.loads(line)
        if not isinstance(data, dict):
            return None
        record = cast("dict[str, Any]", data)
        if record.get("event") not in JUDGED:
            return None
        when = datetime.strptime(str(record["time"]), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except (ValueError, KeyError):
        return None
    return Past(record, when.timestamp(), _clock(when))


def _clock(when: datetime) -> Clock:
    def clock(zone: str) -> tuple[int, int]:
        there = when.astimezone(ZoneInfo(zone) if zone else None)
        return there.weekday(), there.hour * 60 + there.minute

    return clock
