"""`qlaunch argv NAME`: the QEMU command line."""

import argparse
import shlex

import msgspec

from qlaunch.cli.host import host_facts
from qlaunch.cli.prepare import plan_for, tell


def run(options: argparse.Namespace) -> int:
    """Print the argv, one option a line, or as a JSON list."""
    plan = plan_for(options.name, options.overrides, host_facts(options))
    tell(plan)
    if options.json:
        print(msgspec.json.encode(plan.argv).decode())
    else:
        print(" \\\n  ".join(option_lines(plan.argv)))
    return 0


def option_lines(argv: list[str]) -> list[str]:
    """Group the words of an argv into the binary and one line an option, quoted for a shell."""
    lines = [shlex.quote(argv[0])]
    for word in argv[1:]:
        if word.startswith("-"):
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return lines
