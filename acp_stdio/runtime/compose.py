"""The composition root of `run`: settings in, a program out."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acp_stdio.catalogue import ticket
from acp_stdio.catalogue.file import CatalogueFile
from acp_stdio.errors import Failure
from acp_stdio.runtime.arguments import RunArguments
from acp_stdio.runtime.prelude import Prelude
from acp_stdio.settings.load import config_files, load
from acp_stdio.settings.model import Settings, UpstreamSettings
from acp_stdio.tokens.sign_ins import SignIn

if TYPE_CHECKING:
    from acp_stdio.runtime.helper_process import HelperProcess
    from acp_stdio.tokens.messages import Request

REHEARSAL = "ACP_STDIO_REHEARSAL"
"""Set by `login`, which plays a host: no answer from memory, and patience for the live one."""


@dataclass(frozen=True, slots=True)
class Program:
    """Everything that `run` needs, before there is an event loop."""

    settings: Settings
    upstream: UpstreamSettings
    arguments: RunArguments
    argv: list[str]
    rehearsal: bool

    def run(self, stdin: int, stdout: int, played: Prelude) -> int:
        """Serves until the host leaves; returns the exit code."""
        sign_in = SignIn(self.settings, self.upstream)
        try:
            session = sign_in.current()
        except Failure:  # a damaged file: the handshake and lists are served all the same, and calls say why
            session = None
        signed_in = session is not None and session.signed_in
        if session is not None and session.account is not None and session.account.key in self.settings.revoked:
            self._purge()
            signed_in = False
        helper = self._start_helper() if signed_in else None  # on the other core, while we import
        catalogue_file = CatalogueFile(self.settings.cache_dir, self.upstream.name, self.upstream.url)
        files = [str(path) for path in config_files(self.settings.paths, self.settings.config_file)]
        if not self.rehearsal:
            ticket.remember(self.argv, os.environ, files, str(catalogue_file.handshakes))

        from acp_stdio.runtime.serve import serve

        return serve(
            self.settings,
            self.upstream,
            sign_in,
            {} if self.rehearsal else catalogue_file.load(),
            catalogue_file,
            self.request,
            self.options,
            helper,
            (stdin, stdout, played),
            signed_in=signed_in,
            rehearsal=self.rehearsal,
        )

    @property
    def options(self) -> list[str]:
        """Our options as words, for another command to run under the same configuration."""
        config = [f"--config={self.arguments.config}"] if self.arguments.config else []
        return [*config, f"--profile={self.settings.profile}", *self.arguments.targets]

    def request(self, rejected: str | None) -> "Request":
        """What a token helper is asked for."""
        from acp_stdio.tokens.messages import Request

        return Request(
            config=self.arguments.config,
            profile=self.settings.profile,
            targets=self.arguments.targets,
            upstream=self.upstream.name,
            rejected=rejected,
        )

    def _purge(self) -> None:
        """Ends what the administrator has revoked, in a process of its own: a keyring may take its time."""
        import subprocess

        from acp_stdio.runtime.helper_process import own_command

        subprocess.Popen(
            own_command("logout", "--revoked", "--quiet", *[each for each in self.options if each.startswith("--")]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _start_helper(self) -> "HelperProcess":
        from acp_stdio.runtime.helper_process import HelperProcess

        return HelperProcess(self.request(None))


def compose(arguments: RunArguments, argv: list[str]) -> Program:
    """Reads the settings and picks the upstream.

    Raises `Failure("configuration_invalid")`.
    """
    settings = load(
        config=Path(arguments.config) if arguments.config else None,
        profile=arguments.profile,
        targets=arguments.targets,
        environ=os.environ,
    )
    if len(settings.upstreams) != 1:
        names = ", ".join(sorted(settings.upstreams)) or "none"
        raise Failure(
            "configuration_invalid",
            f"This version serves one upstream a process, and the configuration names {names}.",
            "Name one in the host's entry: `acp-stdio run NAME`.",
        )
    (upstream,) = settings.upstreams.values()
    return Program(settings, upstream, arguments, argv, rehearsal=os.environ.get(REHEARSAL) == "1")
