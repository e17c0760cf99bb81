"""`demo`: the whole story on this computer."""

import argparse
import io
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from acp_stdio.cli.common import output_of
from acp_stdio.cli.render import Output, forget_stdout
from acp_stdio.errors import EXIT_OK, EXIT_UNEXPECTED, EXIT_USAGE, Failure

EXAMPLES = """\
  acp-stdio demo                    needs no account, no network and no keyring
  acp-stdio demo --json             the checked steps and logs, for programs
  acp-stdio demo --verbose          also acp-stdio's own logs, if a step fails
"""
_NEEDS = ("flask", "mcp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    """Tells the story; 0 only if every step of it was true."""
    output = output_of(args)
    if any(find_spec(package) is None for package in _NEEDS):
        output.failure(
            Failure(
                "configuration_invalid",
                "The demo's own IdP and finance server are not installed.",
                "Install them with: pip install 'acp-stdio[demo]'",
            )
        )
        return EXIT_USAGE
    signal.signal(signal.SIGTERM, _end)
    stdout: Any = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="replace")  # a terminal without check marks must not end the story
    try:
        return _tell(output)
    except BrokenPipeError:  # nobody listens any more, so the story was not told to its end
        forget_stdout()
        return EXIT_UNEXPECTED


def _tell(output: Output) -> int:
    from acp_stdio.demo.parts import Parts
    from acp_stdio.demo.story import StepFailed, Story
    from acp_stdio.demo.voice import Voice, wants_colour

    silent = output.json or output.quiet
    voice = Voice(None if silent else sys.stdout, wants_colour(sys.stdout, os.environ))
    started = time.monotonic()
    problem = None
    with (
        tempfile.TemporaryDirectory(prefix="acp-stdio-demo-") as folder,
        Story(Parts(Path(folder)), voice) as story,
    ):
        try:
            story.tell()
        except StepFailed as failed:
            problem = failed
            voice.bad(failed.why)
            output.detail(story.evidence())
    seconds = round(time.monotonic() - started, 1)
    facts = {"ok": problem is None, "seconds": seconds, **asdict(story.outcome)}
    if problem is not None:
        output.result("", facts | {"failed": {"step": problem.step, "why": problem.why}})
        output.warn(f"The demo failed at the step {problem.step}: {problem.why}")
        return EXIT_UNEXPECTED
    output.result("" if silent else f"\nAll of this was checked while it happened, in {seconds:.0f} s.", facts)
    return EXIT_OK


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Ends by way of every `with`, so that no process and no folder is left behind."""
    raise SystemExit(128 + number)
