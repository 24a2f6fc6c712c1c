"""`qlaunch export NAME`: the machine as a libvirt domain."""

import argparse
import re

import msgspec

from qlaunch.autopin import pin_automatically
from qlaunch.cli.host import host_facts
from qlaunch.cli.new_file import write_new
from qlaunch.cli.terminal import say_problem
from qlaunch.errors import Problem, UsageError
from qlaunch.found import look
from qlaunch.host.folders import find_folders
from qlaunch.libvirt.export import Exported, export
from qlaunch.libvirt.export_sheet import NEWEST
from qlaunch.machine.load import load
from qlaunch.plan import place
from qlaunch.selection import choose_devices

_OLDEST = (9, 0)


def run(options: argparse.Namespace) -> int:
    """Print the XML, or write it into a file; what libvirt has no word for goes to stderr."""
    made = _export(options)
    if options.json:
        report = [_as_json(problem) for problem in made.findings]
        print(msgspec.json.encode({"xml": made.xml, "findings": report}).decode())
    elif not options.output:
        print(made.xml, end="")
    if options.output:
        write_new(options.output, made.xml.encode())
    if not options.json:
        for problem in _each_hint_once(made.findings):
            say_problem(problem)
    return 0


def _export(options: argparse.Namespace) -> Exported:
    facts, read = host_facts(options), load(options.name, options.overrides)
    loaded = choose_devices(read, facts)
    found = look(loaded.name, loaded.machine, find_folders(), facts)
    machine, choices = pin_automatically(loaded.machine, found.cpus, gpu_node=found.gpu_node)
    made = export(machine, place(loaded.name, machine, found), _version(options.libvirt))
    places = loaded.places
    told = [
        msgspec.structs.replace(problem, where=places.where(problem.key)) if problem.key else problem
        for problem in (*loaded.warnings[len(read.warnings) :], *choices, *made.findings)
    ]
    return Exported(made.xml, told)


def _each_hint_once(findings: list[Problem]) -> list[Problem]:
    """Leave a hint that several findings share to the last of them."""
    last = {problem.hint: number for number, problem in enumerate(findings)}
    return [
        problem if last[problem.hint] == number else msgspec.structs.replace(problem, hint="")
        for number, problem in enumerate(findings)
    ]


def _version(text: str | None) -> tuple[int, int]:
    if text is None:
        return NEWEST
    match = re.match(r"(\d{1,4})(?:\.(\d{1,4}))?(?:\.|$)", text, re.ASCII)
    version = (int(match[1]), int(match[2] or "0")) if match else (0, 0)
    if version < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise UsageError(f"--libvirt {text}: a version of {oldest} or later is wanted", "see: virsh --version")
    return version


def _as_json(problem: Problem) -> dict[str, str]:
    return {key: getattr(problem, key) for key in ("severity", "code", "key", "where", "message", "hint")}
