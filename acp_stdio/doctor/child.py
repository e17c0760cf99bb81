"""A child server: whether its program is where a host's small environment finds it."""

import os
import shutil

from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok, problem
from acp_stdio.settings.model import UpstreamSettings
from acp_stdio.upstream.child_process import environment


def probe(case: Case, upstream: UpstreamSettings) -> Finding:
    """Looks for the program and starts nothing: what a server does when it is started, only it knows."""
    environ = environment(case.environ, upstream.env)
    program = shutil.which(upstream.command[0], path=environ.get("PATH", os.defpath))
    how = f"it gets the token as `_meta` {upstream.token_meta}" if upstream.token_meta else "it gets no token"
    if program is None:
        return problem(
            "upstream_unreachable",
            f"{upstream.name} is started by {upstream.command[0]}, which is not found.",
            "Write its absolute path into the upstream's command: hosts do not have your shell's PATH.",
        )
    return ok(f"{program}; {how}", program=program)
