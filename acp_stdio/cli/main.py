"""The command line: finds the command, imports it, runs it, and gives its failure an exit code."""

import argparse
import io
import os
import sys
from importlib import import_module
from typing import Any

from acp_stdio import __version__
from acp_stdio.cli import crash
from acp_stdio.cli.common import add_common, bind_environment, output_of
from acp_stdio.cli.render import Output, forget_stdout
from acp_stdio.cli.run import command_word
from acp_stdio.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_UNEXPECTED, EXIT_USAGE, Failure

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("be the MCP server that a host launches", "acp_stdio.cli.run"),
    "login": ("sign in and keep the sign-in in the keyring", "acp_stdio.cli.login"),
    "logout": ("end the sign-in here and at the identity provider", "acp_stdio.cli.logout"),
    "status": ("who is signed in, until when, where it is stored", "acp_stdio.cli.status"),
    "whoami": ("the same as status", "acp_stdio.cli.status"),
    "doctor": ("check everything real on this computer, and say what to do next", "acp_stdio.cli.doctor"),
    "install": ("add the entry to a host, such as Claude Desktop", "acp_stdio.cli.install"),
    "uninstall": ("take our entries out of a host again", "acp_stdio.cli.uninstall"),
    "hosts": ("which hosts are supported, and which were found here", "acp_stdio.cli.hosts"),
    "policy": (
        "check the rules about calls, explain a decision, try them on cases or the past",
        "acp_stdio.cli.policy",
    ),
    "check-backend": ("does this server know who is asking? tries it, and reports", "acp_stdio.cli.check_backend"),
    "tools": ("what the servers' tools say of themselves, and what changed", "acp_stdio.cli.tools"),
    "token": ("print a fresh access token, where the configuration allows it", "acp_stdio.cli.token"),
    "completion": ("print what completes this program's words in your shell", "acp_stdio.cli.completion"),
    "audit": ("what was done in your name, whether the trail is whole, and its exports", "acp_stdio.cli.audit"),
    "demo": ("the whole story on this computer, no accounts needed", "acp_stdio.cli.demo"),
}
"""Command to its one line of help and the module that has `add_arguments(parser)` and `run(args)`."""

_INTRODUCTION = """\
Puts the signed-in person behind every MCP call that Claude makes.

  acp-stdio login      once, in a terminal
  acp-stdio run        what the host launches from then on
"""
_EXIT_CODES = """\
exit codes: 0 ok, 1 unexpected, 2 usage, 3 configuration, 4 sign-in required,
5 identity provider, upstream or network, 6 keyring, 7 denied or cancelled,
8 signed out but not revoked, 9 audit trail, 10 the server failed check-backend,
130 interrupted"""


def main(argv: list[str]) -> int:
    """Runs one command and returns its exit code. Raises nothing but argparse's `SystemExit`."""
    _print_anything()
    out = Output(json="--json" in argv, quiet="-q" in argv or "--quiet" in argv)
    try:
        module, args = _read(argv)
        if module is None:
            return EXIT_USAGE
        out = output_of(args)
        return int(module.run(args))
    except Failure as failure:
        out.failure(failure)
        return failure.meaning.exit_code
    except KeyboardInterrupt:
        out.warn("Interrupted.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        forget_stdout()
        return EXIT_OK
    except Exception as error:
        out.unexpected(crash.record(error, os.environ))
        return EXIT_UNEXPECTED


def _print_anything() -> None:
    """A terminal or pipe of a narrow encoding (Windows) shows what it can, and is no reason to fail after the deed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _read(argv: list[str]) -> tuple[Any, argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="acp-stdio",
        description=_INTRODUCTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"acp-stdio {__version__}")
    add_common(parser)
    bind_environment(parser, os.environ)
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    named = command_word(argv)
    module: Any = import_module(COMMANDS[named][1]) if named in COMMANDS else None
    for name, (summary, _) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"examples:\n{module.EXAMPLES}" if name == named else "",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == named:
            module.add_arguments(command)
            add_common(command, default=argparse.SUPPRESS)
            bind_environment(command, os.environ)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return None, args
    return module, args
