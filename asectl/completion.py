"""`asectl completion bash`: print the completion of commands and flags for a shell.

zsh reads it too, by its `bashcompinit`.
"""

import argparse
import importlib

from asectl.main import COMMANDS

_BASH = """\
# asectl completion; in ~/.bashrc: source <(asectl completion bash)
_asectl() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" flags=""
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W "{names}" -- "$current"))
        return
    fi
    if [[ $COMP_CWORD -eq 2 ]]; then
        case "${{COMP_WORDS[1]}}" in
{groups}
        esac
        [[ ${{#COMPREPLY[@]}} -gt 0 ]] && return
    fi
    if [[ $current != -* ]]; then
        COMPREPLY+=($(compgen -f -- "$current"))
        return
    fi
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{commands}
    esac
    COMPREPLY=($(compgen -W "$flags" -- "$current"))
}}
complete -o filenames -F _asectl asectl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=("bash",), help="for zsh too, after bashcompinit")


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 (there is one shell)
    """Print the script."""
    print(bash_script(), end="")
    return 0


def bash_script() -> str:
    """Return the script for bash. Its cases have the longer names first: `lb state` before `lb`."""
    groups: dict[str, list[str]] = {}
    for name in COMMANDS:
        first, _, second = name.partition(" ")
        groups.setdefault(first, []).extend([second] if second else [])
    group_lines = [
        f'            {first}) COMPREPLY=($(compgen -W "{" ".join(seconds)}" -- "$current"));;'
        for first, seconds in groups.items()
        if seconds
    ]
    by_length = sorted(COMMANDS, key=lambda name: -len(name.split()))
    command_lines = [
        f'        {_pattern(name)}) flags="{" ".join(_flags(COMMANDS[name][0]))}";;'
        for name in by_length
    ]
    return _BASH.format(
        names=" ".join(groups), groups="\n".join(group_lines), commands="\n".join(command_lines)
    )


def _pattern(name: str) -> str:
    """Return the pattern of a command for the first two words of a line."""
    return f'"{name}"' if " " in name else f'"{name} "*'


def _flags(module_name: str) -> list[str]:
    """Return the flags of a command, without hidden ones; none if its packages are missing."""
    parser = argparse.ArgumentParser(add_help=True)
    try:
        importlib.import_module(module_name).add_arguments(parser)
    except ModuleNotFoundError:
        return []
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]  # noqa: SLF001
    return [flag for action in shown for flag in action.option_strings if flag.startswith("--")]
