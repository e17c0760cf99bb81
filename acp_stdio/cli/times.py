"""Times as people say them. All arguments are epoch seconds."""

import time

_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second"))


def span(seconds: float) -> str:
    """`3 hours`; rounded down to the largest unit that fits."""
    for size, name in _UNITS:
        count = int(seconds // size)
        if count >= 1:
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "0 seconds"


def ago(then: float, now: float) -> str:
    """`3 hours ago`; a time to come (a clock that was put back) is said as it is."""
    if then > now + 60:
        return f"at {local(then)}, which is in the future: check this computer's clock"
    return "just now" if now - then < 5 else f"{span(now - then)} ago"


def ahead(then: float, now: float) -> str:
    """`4 minutes (until 18:42)`."""
    return f"{span(max(0.0, then - now))} (until {time.strftime('%H:%M', time.localtime(then))})"


def local(then: float) -> str:
    """`2026-11-23 18:42`, in the person's own time zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(then))
