"""`acp-stdio run`, from the first instruction to the exit code.

The order is the point: the host's handshake first, then what it costs. Imports stand where
they are needed, since each of them is a part of the time that a host waits.
"""

import os
import sys


def main(argv: list[str]) -> int:
    """Runs the MCP server that a host launched; returns its exit code when the host leaves."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130


def _run(argv: list[str]) -> int:
    from acp_stdio.catalogue import ticket
    from acp_stdio.downstream.claim import claim_stdio
    from acp_stdio.runtime import prelude

    stdin, stdout = claim_stdio()
    played = prelude.play(stdin, stdout, ticket.handshakes(argv, os.environ))

    from acp_stdio.errors import EXIT_USAGE, Failure
    from acp_stdio.runtime.arguments import UsageError, parse

    try:
        from acp_stdio.runtime.compose import compose

        return compose(parse(argv, os.environ), argv).run(stdin, stdout, played)
    except UsageError as e:
        sys.stderr.write(f"acp-stdio: {e}\nSee `acp-stdio run --help`.\n")
        return EXIT_USAGE
    except Failure as failure:
        sys.stderr.write(f"acp-stdio: {failure.message}\n{failure.advice}\n")
        return failure.meaning.exit_code
