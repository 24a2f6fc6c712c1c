"""A piece of a script that can run by itself: with the arguments, variables and functions that it names before it.

Must not: decide what is kept.
"""

import re
import shlex
from collections.abc import Mapping

from qlaunch.libvirt.hooks_words import UNKNOWN, is_known

_NAMES = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*|[0-9])")
_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def alone(text: str, variables: Mapping[str, str], assigned: Mapping[str, str], functions: Mapping[str, str]) -> str:
    """Give a text that says the same without its script.

    ``variables`` are the values that are known, ``assigned`` the words as written for those that are not, and
    ``functions`` the texts of the script's functions.
    """
    named: dict[str, None] = {}
    _collect(text, functions, named)
    bodies = "".join(f"{functions[name]}\n" for name in named)
    wanted = dict.fromkeys(_NAMES.findall(bodies + text))
    arguments = [variables[str(number)] for number in range(1, 10) if str(number) in variables]
    before = ""
    if any(name.isdigit() for name in wanted) and all(is_known(argument) for argument in arguments):
        before = f"set -- {shlex.join(arguments)}; "
    before += _assignments(wanted, variables, assigned, set())
    if {"return", "local"} & set(_WORDS.findall(text)):
        # Only a function may have these.
        text = f'kept() {{\n{text}\n}}\nkept "$@"'
    return before + bodies + text


def _collect(text: str, functions: Mapping[str, str], named: dict[str, None]) -> None:
    """Name the functions that a text calls, those that these call, and so on."""
    for word in _WORDS.findall(text):
        if word in functions and word not in named:
            named[word] = None
            _collect(functions[word], functions, named)


def _assignments(
    names: Mapping[str, None], variables: Mapping[str, str], assigned: Mapping[str, str], seen: set[str]
) -> str:
    text = ""
    for name in names:
        if name in seen or name.isdigit():
            continue
        seen.add(name)
        value = variables.get(name, UNKNOWN)
        if is_known(value) and f"{name}[@]" not in variables:
            text += f"{name}={shlex.quote(value)}; "
        elif name in assigned:
            inner = dict.fromkeys(_NAMES.findall(assigned[name]))
            text += f"{_assignments(inner, variables, assigned, seen)}{name}={assigned[name]}; "
    return text
