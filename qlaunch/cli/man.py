"""`qlaunch man`: the manual page, from what `--help` is made of.

Source: ``groff_man(7)``.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from qlaunch import __version__


def run(_options: argparse.Namespace) -> int:
    """Print it."""
    from qlaunch.cli.parser import build  # noqa: PLC0415 - it is there already, this one needs it whole

    print("\n".join(page(*build())))
    return 0


def page(parser: argparse.ArgumentParser, verbs: "argparse._SubParsersAction[Any]") -> Iterator[str]:
    """Yield the lines."""
    about = parser.description or ""
    yield f'.TH QLAUNCH 1 "" "qlaunch {__version__}" "User Commands"'
    yield from (".SH NAME", f"qlaunch \\- {_text(about[0].lower() + about[1:].rstrip('.'))}")
    yield from (".SH SYNOPSIS", ".B qlaunch", "VERB [OPTION]... [NAME]...")
    yield from (".SH DESCRIPTION", _text(about), ".SH VERBS")
    for name, verb in verbs.choices.items():
        yield from _verb(name, verb)
    yield from (".SH EXAMPLES, NAMES, EXIT STATUS", ".nf", _text((parser.epilog or "").strip()), ".fi")
    yield from (".SH SEE ALSO", ".BR qemu (1)")


def _verb(name: str, verb: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(verb.format_usage().split()).removeprefix("usage: ")
    yield from (f".SS {name}", _text(verb.description or ""), ".PP", ".nf", _text(usage), ".fi")
    for action in verb._actions:  # noqa: SLF001 - argparse has no other door
        if action.help and action.help != argparse.SUPPRESS and action.dest != "help":
            metavar = f" {action.metavar}" if isinstance(action.metavar, str) and action.option_strings else ""
            term = ", ".join(f"{option}{metavar}" for option in action.option_strings) or str(action.metavar)
            yield from (".TP", f"\\fB{_text(term)}\\fR", _text(action.help))
    if verb.epilog:
        yield from (".PP", _text(verb.epilog))


def _text(text: str) -> str:
    """Escape what roff would take for its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.splitlines())
