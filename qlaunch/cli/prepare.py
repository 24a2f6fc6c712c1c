"""What verbs do before they act: load the machine, look at the host, plan, and tell what stands against it."""

import argparse
import os
from collections.abc import Sequence

import msgspec

from qlaunch.cli.machines import taken_cpus
from qlaunch.cli.terminal import say_problem
from qlaunch.errors import HostError, MachineError, QlaunchError, UsageError
from qlaunch.found import look
from qlaunch.host.folders import find_folders
from qlaunch.machine.load import load
from qlaunch.plan import Plan, make_plan


def plan_for(name: str, overrides: Sequence[str], root: str = "/") -> Plan:
    """Plan a run of a machine. Raises MachineError, UsageError."""
    loaded = load(name, overrides)
    folders = find_folders()
    # A captured host is another computer: what runs here takes nothing there.
    taken = taken_cpus(folders.runtime, except_for=loaded.name) if root == "/" else None
    return make_plan(loaded, look(loaded.name, loaded.machine, folders, root), taken)


def host_root(options: argparse.Namespace) -> str:
    """Give the root that facts are read from."""
    root: str = options.host_root or os.environ.get("QLAUNCH_HOST_ROOT") or "/"
    if not os.path.isdir(root):
        raise UsageError(f"--host-root {root}: there is no such folder")
    return root


def tell(plan: Plan) -> None:
    """Print everything that stands against the plan. Nothing of it stops a verb that only shows: they are warnings."""
    for problem in plan.problems:
        is_error = problem.severity == "error"
        say_problem(msgspec.structs.replace(problem, severity="warning") if is_error else problem)


def insist(plan: Plan) -> None:
    """Print warnings; raise what makes a start impossible: all of it at once."""
    errors = [problem for problem in plan.problems if problem.severity == "error"]
    for problem in plan.problems:
        if problem not in errors:
            say_problem(problem)
    if not errors:
        return
    if any(problem.code == "not-yet" for problem in errors):
        raise MachineError([problem for problem in errors if problem.code == "not-yet"])
    for problem in errors[:-1]:
        say_problem(problem)
    raise _host_error(errors[-1].key, errors[-1].message, errors[-1].hint)


def _host_error(key: str, message: str, hint: str) -> QlaunchError:
    return HostError(f"{key}: {message}" if key else message, hint)
