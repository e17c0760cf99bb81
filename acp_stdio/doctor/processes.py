"""Which `run` processes live now."""

from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok


def probe(case: Case) -> Finding:
    """None is fine: hosts start theirs when they need them."""
    live = [dict(each) for each in case.processes(case.settings.state_dir)]
    if not live:
        return ok("none runs now", processes=[])
    named = ", ".join(f"{each.get('client') or 'a host'} (process {each.get('pid', '?')})" for each in live)
    return ok(f"{len(live)} running: {named}", processes=live)
