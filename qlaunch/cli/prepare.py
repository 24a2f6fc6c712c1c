"""What verbs do before they act: load the machine, look at the host, plan, and tell what stands against it."""

from collections.abc import Sequence

import msgspec

from qlaunch.cli.machines import running_pins
from qlaunch.cli.terminal import say_problem
from qlaunch.duty import Pins
from qlaunch.errors import HostError, QlaunchError
from qlaunch.found import look
from qlaunch.host.facts import HostFacts
from qlaunch.host.folders import Folders, find_folders
from qlaunch.host.tree import Tree
from qlaunch.machine.load import Loaded, load
from qlaunch.plan import Plan, make_plan
from qlaunch.selection import choose_devices
from qlaunch.values.cpus import CpuSet


def plan_for(name: str, overrides: Sequence[str], facts: HostFacts | None = None) -> Plan:
    """Plan a run of a machine, on this host or a captured one. Raises MachineError, HostError."""
    return plan_loaded(load(name, overrides), facts or HostFacts())


def plan_loaded(loaded: Loaded, facts: HostFacts, folders: Folders | None = None) -> Plan:
    """Plan a run of a machine whose file was read. Raises HostError."""
    loaded = choose_devices(loaded, facts)
    found = look(loaded.name, loaded.machine, folders or find_folders(), facts)
    return make_plan(loaded, found, leased_cpus(facts.tree, except_for=loaded.name))


def leased_cpus(tree: Tree, *, except_for: str) -> CpuSet:
    """Give the CPUs that the vCPUs of other machines are pinned to, which run on that host."""
    pins = (pins for name, pins in pins_of(tree).items() if name != except_for)
    return CpuSet(cpu for one in pins for cpus in one.vcpus.values() for cpu in CpuSet.parse(cpus))


def pins_of(tree: Tree) -> dict[str, Pins]:
    """Give the pins of the machines that run, or ran when a host was captured."""
    if tree.live:
        return running_pins()
    from qlaunch.host.captured import read_captured  # noqa: PLC0415 - for --host-root alone

    return {name: msgspec.json.decode(pins, type=Pins) for name, pins in read_captured(tree).pins.items()}


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
    for problem in errors[:-1]:
        say_problem(problem)
    raise _host_error(errors[-1].key, errors[-1].message, errors[-1].hint)


def _host_error(key: str, message: str, hint: str) -> QlaunchError:
    return HostError(f"{key}: {message}" if key else message, hint)
