"""The composition root of `run`: settings in, a program out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from acp_stdio.catalogue import ticket
from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.errors import Failure
from acp_stdio.runtime.arguments import RunArguments
from acp_stdio.runtime.prelude import Prelude
from acp_stdio.runtime.served import Served
from acp_stdio.runtime.turn import Turn
from acp_stdio.settings.load import config_files, load
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.handover import LoginRequest
from acp_stdio.tokens.sign_ins import SignIn

if TYPE_CHECKING:
    import asyncio

    from acp_stdio.runtime.exporting import Exporting
    from acp_stdio.runtime.helper_process import HelperProcess
    from acp_stdio.tokens.messages import Request

REHEARSAL = "ACP_STDIO_REHEARSAL"
"""Set by `login`, which plays a host: no answer from memory, and patience for the live one."""


@dataclass(frozen=True, slots=True)
class Program:
    """Everything that `run` needs, before there is an event loop."""

    settings: Settings
    arguments: RunArguments
    argv: list[str]
    rehearsal: bool

    def run(self, stdin: int, stdout: int, played: Prelude) -> int:
        """Serves until the host leaves; returns the exit code."""
        turn = Turn()
        served = [self._serve(upstream, turn) for upstream in self.settings.upstreams.values()]
        if any(each.revoked for each in served):
            self._purge()
        together = self._together() if len(served) > 1 else served[0].catalogue_file
        files = [str(path) for path in config_files(self.settings.paths, self.settings.config_file)]
        if not self.rehearsal:
            ticket.remember(self.argv, os.environ, files, str(together.handshakes))

        from acp_stdio.runtime.serve import serve

        exporting = self._exporting if self.settings.audit.otlp and not self.rehearsal else None
        stdio = (stdin, stdout, played)
        return serve(self.settings, served, together, self.login, stdio, exporting, turn, rehearsal=self.rehearsal)

    def _exporting(self, loop: "asyncio.AbstractEventLoop") -> "Exporting":
        from acp_stdio.runtime.exporting import Exporting

        return Exporting(self.settings, self.arguments, loop)

    def _serve(self, upstream: UpstreamSettings, turn: Turn) -> Served:
        sign_in = SignIn(self.settings, upstream, turn.stat)
        try:
            session = sign_in.current()
        except Failure:  # a damaged file: the handshake and lists are served all the same, and calls say why
            session = None
        signed_in = session is not None and session.signed_in
        revoked = session is not None and session.account is not None and session.account.key in self.settings.revoked
        signed_in = signed_in and not revoked
        request = partial(self._request, upstream.name)
        file = CatalogueFile(self.settings.cache_dir, upstream.name, upstream.url)
        return Served(
            upstream,
            sign_in,
            signed_in or not upstream.takes_token,
            revoked,
            {} if self.rehearsal else file.load(),
            file,
            request,
            _start_helper(request(None)) if signed_in and upstream.takes_token else None,
        )

    def _together(self) -> CatalogueFile:
        """Where the handshake of all upstreams together is remembered."""
        which = "\n".join(f"{name} {each.url}" for name, each in self.settings.upstreams.items())
        return CatalogueFile(self.settings.cache_dir, "together", which)

    def login(self, upstreams: Sequence[str]) -> LoginRequest:
        """Asks for a sign-in for these upstreams, under the options under which we run."""
        known = [self.settings.upstreams[name] for name in upstreams]
        words = tuple(each.url if each.url in self.arguments.targets else each.name for each in known)
        return LoginRequest(self.arguments.config, self.settings.profile, words)

    def _request(self, upstream: str, rejected: str | None) -> "Request":
        """What a token helper is asked for."""
        from acp_stdio.tokens.messages import Request

        return Request(
            config=self.arguments.config,
            profile=self.settings.profile,
            targets=self.arguments.targets,
            upstream=upstream,
            rejected=rejected,
            signing=self.settings.upstreams[upstream].assertion,
        )

    def _purge(self) -> None:
        """Ends what the administrator has revoked, in a process of its own: a keyring may take its time."""
        import subprocess

        from acp_stdio.runtime.helper_process import own_command

        config = [f"--config={self.arguments.config}"] if self.arguments.config else []
        subprocess.Popen(
            own_command("logout", "--revoked", "--quiet", *config, f"--profile={self.settings.profile}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _start_helper(request: "Request") -> "HelperProcess":
    from acp_stdio.runtime.helper_process import HelperProcess

    return HelperProcess(request)


def compose(arguments: RunArguments, argv: list[str]) -> Program:
    """Reads the settings and finds the upstreams.

    Raises `Failure("configuration_invalid")`.
    """
    settings = load(
        config=Path(arguments.config) if arguments.config else None,
        profile=arguments.profile,
        targets=arguments.targets,
        environ=os.environ,
        signed=False,
    )
    if not settings.upstreams:
        raise Failure(
            "configuration_invalid",
            "The configuration names no upstream, so there is nothing to serve.",
            "Add a table [upstreams.NAME] with its url.",
        )
    if settings.audit.otlp:
        from acp_stdio.audit.delivery import require_libraries

        require_libraries(settings.audit)
    return Program(settings, arguments, argv, rehearsal=os.environ.get(REHEARSAL) == "1")
