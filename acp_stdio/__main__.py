"""`acp-stdio`: picks what to import for this command, and imports nothing else."""

import os
import sys


def main() -> int:
    """Runs the command line and returns its exit code (README: exit codes)."""
    arguments = sys.argv[1:]
    from acp_stdio.cli.run import wants_run

    if wants_run(arguments, stdin_is_terminal=os.isatty(0)):
        # A host waits for this one: no argparse, no HTTP client, no keyring on this way.
        from acp_stdio.runtime import start

        return start.main(arguments)
    if arguments[:1] == ["token-helper"]:
        from acp_stdio.tokens import helper

        helper.run()
    if arguments[:1] == ["otlp-helper"]:
        from acp_stdio.audit import exporter

        exporter.run()
    if arguments[:1] == ["login-helper"]:
        from acp_stdio.cli import login_helper

        login_helper.run()
    from acp_stdio.cli.main import main as command_line

    return command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
