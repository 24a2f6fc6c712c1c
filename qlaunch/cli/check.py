"""`qlaunch check [NAME]`: is this host ready, and is this machine sane on it."""

import argparse
import textwrap

import msgspec

from qlaunch.check import host_checks, machine_checks, told_once
from qlaunch.check.question import Question
from qlaunch.check.result import Check
from qlaunch.cli.host import host_facts
from qlaunch.cli.prepare import plan_loaded
from qlaunch.cli.terminal import bold
from qlaunch.errors import UsageError
from qlaunch.host.facts import HostFacts
from qlaunch.machine.load import load
from qlaunch.selection import choose_devices

_WIDTH = 80
_ORDER = {"error": 0, "warning": 1, "info": 2}
_RANK = {"failed": 0, "unknown": 1, "passed": 2}


def run(options: argparse.Namespace) -> int:
    """Print the checks. Status 0: all is well; 1: one failed that matters; 2: none did, but one was not measured."""
    parts = checks_of(options.name, options.overrides, host_facts(options))
    flat = [check for _, checks in parts for check in checks]
    if options.json:
        print(msgspec.json.encode({"checks": flat}).decode())
    else:
        print("\n".join(picture(parts)))
    return exit_status(flat)


def exit_status(checks: list[Check]) -> int:
    """Say it as a script wants it. A wrong machine file is 2, too, as everywhere: then nothing was measured."""
    if any(check.stops for check in checks):
        return 1
    return 2 if any(check.status == "unknown" for check in checks) else 0


def checks_of(name: str | None, overrides: list[str], facts: HostFacts) -> list[tuple[str, list[Check]]]:
    """Give all checks under their headings. Raises MachineError, UsageError."""
    if name is None:
        if overrides:
            raise UsageError(
                "--set changes a machine, and none is named", "name it: qlaunch check NAME --set KEY=VALUE"
            )
        return host_checks(Question(facts))
    loaded = choose_devices(load(name, overrides), facts)
    plan = plan_loaded(loaded, facts)
    problems, parts = told_once(plan.problems, host_checks(Question(facts, loaded.machine)))
    return [(f"Machine {loaded.name}", machine_checks(problems)), *parts]


def picture(parts: list[tuple[str, list[Check]]]) -> list[str]:
    """Give lines of at most 80 columns: headings with failures first, each with its fix below it."""
    lines: list[str] = []
    for title, checks in sorted(parts, key=lambda part: min(_rank(check) for check in part[1])):
        lines.append(bold(title))
        for check in sorted(checks, key=_rank):
            lines += _lines(check)
        lines.append("")
    flat = [check for _, checks in parts for check in checks]
    counts = {status: sum(check.status == status for check in flat) for status in _RANK}
    return [*lines, f"{counts['passed']} passed, {counts['failed']} failed, {counts['unknown']} could not be measured"]


def _rank(check: Check) -> tuple[int, int]:
    return _RANK[check.status], _ORDER[check.severity]


def _lines(check: Check) -> list[str]:
    word = {"passed": "ok", "unknown": "unknown"}.get(check.status) or check.severity
    lines = _wrapped(f"  {word:<8}", check.message)
    return lines + _wrapped(f"{'':10}-> ", check.hint) if check.hint else lines


def _wrapped(start: str, text: str) -> list[str]:
    # A line of a machine file, or a path, is copied as it stands: it is never broken inside a word.
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
