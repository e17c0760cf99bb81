"""`completion`: what completes this program's words in a shell, made of the same table as its help."""

import argparse
from importlib import import_module
from typing import Final, NamedTuple

from acp_stdio.cli.common import add_common
from acp_stdio.errors import EXIT_OK

EXAMPLES = """\
  acp-stdio completion bash \\
      > ~/.local/share/bash-completion/completions/acp-stdio
  acp-stdio completion zsh > "${fpath[1]}/_acp-stdio"
  acp-stdio completion fish > ~/.config/fish/completions/acp-stdio.fish
"""
_BEFORE_A_VALUE: Final = "--config|--profile"


class Flag(NamedTuple):
    """One long option of a command."""

    name: str
    help: str
    takes_value: bool


class Command(NamedTuple):
    """One command with its options and the words that may follow it."""

    name: str
    help: str
    flags: list[Flag]
    words: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """0: the script is on stdout."""
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](commands()), end="")
    return EXIT_OK


def commands() -> list[Command]:
    """Every command, as its own parser has it."""
    from acp_stdio.cli.main import COMMANDS

    found: list[Command] = []
    for name, (summary, module) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=name)
        import_module(module).add_arguments(parser)
        add_common(parser)
        flags: dict[str, Flag] = {}
        words: list[str] = []
        for action in parser._actions:  # pyright: ignore[reportPrivateUsage]  # argparse has no public list of them
            text = " ".join((action.help or "").replace("%%", "%").split())
            for option in (each for each in action.option_strings if each.startswith("--")):
                flags[option] = Flag(option, text, action.nargs != 0)
            if not action.option_strings and action.choices:
                words += [str(each) for each in action.choices]
        found.append(Command(name, summary, list(flags.values()), words))
    return found


def _bash(commands: list[Command]) -> str:
    cases = "".join(
        f'    {each.name}) words="{" ".join([*each.words, *(flag.name for flag in each.flags)])}" ;;\n'
        for each in commands
    )
    names = " ".join([each.name for each in commands] + ["--config", "--profile", "--json", "--help", "--version"])
    return f"""\
# bash completion for acp-stdio
_acp_stdio() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} command="" skip="" word words
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    if [[ $skip ]]; then skip=""; continue; fi
    case $word in
      {_BEFORE_A_VALUE}) skip=1 ;;
      -*) ;;
      *) command=$word; break ;;
    esac
  done
  case $command in
    "") words="{names}" ;;
{cases}    *) words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _acp_stdio acp-stdio
"""


def _zsh(commands: list[Command]) -> str:
    described = "\n".join(f"    {_quoted(f'{each.name}:{each.help}')}" for each in commands)
    cases = "".join(
        f"    {each.name}) _arguments {' '.join(_zsh_flag(flag) for flag in each.flags)}"
        f" {_quoted('*:word:(' + ' '.join(each.words) + ')') if each.words else _quoted('*:file:_files')} ;;\n"
        for each in commands
    )
    return f"""\
#compdef acp-stdio
_acp_stdio() {{
  local -a commands
  commands=(
{described}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case $words[2] in
{cases}  esac
}}
compdef _acp_stdio acp-stdio
"""


def _zsh_flag(flag: Flag) -> str:
    told = flag.help.replace("[", "(").replace("]", ")").replace(":", " ")
    return _quoted(f"{flag.name}[{told}]" + (":value:_files" if flag.takes_value else ""))


def _fish(commands: list[Command]) -> str:
    lines = ["# fish completion for acp-stdio"]
    for each in commands:
        lines.append(f"complete -c acp-stdio -n __fish_use_subcommand -a {each.name} -d {_quoted(each.help)}")
        seen = _quoted(f"__fish_seen_subcommand_from {each.name}")
        lines += [f"complete -c acp-stdio -n {seen} -a {word}" for word in each.words]
        for flag in each.flags:
            value = " -r" if flag.takes_value else ""
            lines.append(f"complete -c acp-stdio -n {seen} -l {flag.name[2:]}{value} -d {_quoted(flag.help)}")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """For all three shells: in single quotes, without any."""
    return "'" + text.replace("'", "’").replace("\\", "") + "'"
