"""`qlaunch completion bash|zsh|fish`: a shell's script; it asks `qlaunch completion words -- …` for what may come.

So that completion knows what `--help` knows, and the machines and devices of now. An empty answer stands for files.

Source: ``bash(1)`` (Programmable Completion), ``zshcompsys(1)``, ``complete`` of fish.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from qlaunch.cli.machines import all_running, control_socket
from qlaunch.errors import QlaunchError
from qlaunch.machine.search import known_names, search_folders

_SCRIPTS = {
    "bash": """\
_qlaunch() {
    local IFS=$'\\n'
    COMPREPLY=($(qlaunch completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _qlaunch qlaunch
""",
    "zsh": """\
#compdef qlaunch
_qlaunch() {
    local -a found
    found=("${(@f)$(qlaunch completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n $found[1] ]]; then compadd -a found; else _files; fi
}
compdef _qlaunch qlaunch
""",
    "fish": """\
complete -c qlaunch -a '(qlaunch completion words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}
# Verbs that are for machines which run; the others are for those of the search path.
_RUNNING = {
    *("down", "status", "top", "console", "serial", "exec", "cp", "shell", "logs", "reset", "pause", "resume"),
    *("powerdown", "attach", "detach", "screenshot", "sendkey", "eject", "resize", "balloon", "snapshot", "pin"),
}
_WITH_DEVICE = {"eject": True, "resize": False}  # and whether it must be removable


def run(options: argparse.Namespace) -> int:
    """Print a script, or the words."""
    if options.shell != "words":
        print(_SCRIPTS[options.shell], end="")
        return 0
    from qlaunch.cli.parser import build  # noqa: PLC0415 - it is there already, this one needs it whole

    for word in candidates(build()[1], options.words):
        print(word)
    return 0


def candidates(verbs: "argparse._SubParsersAction[Any]", words: Sequence[str]) -> list[str]:
    """Give what may stand in place of the last word, which may be empty."""
    *before, last = words or [""]
    if not before:
        found: Iterator[str] = iter(verbs.choices)
    elif before[0] in verbs.choices and "--" not in before:
        found = _in_verb(before[0], verbs.choices[before[0]], before[1:], last)
    else:
        return []
    return sorted({word for word in found if word.startswith(last)})


def _in_verb(verb: str, parser: argparse.ArgumentParser, before: Sequence[str], last: str) -> Iterator[str]:
    actions = parser._actions  # noqa: SLF001 - argparse has no other door
    by_option = {option: action for action in actions for option in action.option_strings}
    previous = by_option.get(before[-1]) if before else None
    if previous is not None and previous.nargs != 0:
        yield from map(str, previous.choices or ())
        return
    if last.startswith("-"):
        yield from by_option
        return
    values = {number for number, word in enumerate(before) if (one := by_option.get(word)) and one.nargs != 0}
    given = [word for number, word in enumerate(before) if not word.startswith("-") and number - 1 not in values]
    positionals = [action for action in actions if not action.option_strings]
    if not positionals:
        return
    action = positionals[min(len(given), len(positionals) - 1)]
    if len(given) < len(positionals) or action.nargs in ("*", "+"):
        yield from _values(verb, action, given)


def _values(verb: str, action: argparse.Action, given: Sequence[str]) -> Iterator[str]:
    if action.choices:
        yield from map(str, action.choices)
    elif action.dest in ("name", "names"):
        names = all_running() if verb in _RUNNING else known_names(search_folders())
        yield from (name for name in names if name not in given)
    elif action.dest in ("source", "target") and verb == "cp":
        yield from (f"{name}:" for name in all_running())
    elif action.dest == "device" and verb in _WITH_DEVICE and given:
        yield from _devices(given[0], removable=_WITH_DEVICE[verb])


def _devices(name: str, *, removable: bool) -> Iterator[str]:
    from qlaunch.run.blocks import drives  # noqa: PLC0415 - two verbs alone
    from qlaunch.run.request import execute  # noqa: PLC0415

    with suppress(QlaunchError):
        for drive in drives(execute(control_socket(name), "query-block", timeout_s=1)):
            if drive.removable or not removable:
                yield drive.name
