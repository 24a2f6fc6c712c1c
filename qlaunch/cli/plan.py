"""`qlaunch plan NAME`: everything that `up` would do."""

import argparse
import textwrap
from collections.abc import Iterator

import msgspec

from qlaunch.cli.argv import option_lines
from qlaunch.cli.host import host_facts
from qlaunch.cli.prepare import plan_for, tell
from qlaunch.cli.terminal import bold
from qlaunch.plan import Plan

_WIDTH = 78


def run(options: argparse.Namespace) -> int:
    """Print the plan for people, or in the documented JSON shape."""
    plan = plan_for(options.name, options.overrides, host_facts(options))
    if options.json:
        print(msgspec.json.encode(plan.as_json()).decode())
        return 0
    # Why the CPUs were chosen stands beside them.
    tell(msgspec.structs.replace(plan, problems=[one for one in plan.problems if one.code != "pins-chosen"]))
    _print(plan)
    return 0


def _print(plan: Plan) -> None:
    duty = plan.duty
    vcpus = f"{duty.vcpus} vCPU{'' if duty.vcpus == 1 else 's'}"
    print(bold(f"{duty.name}: QEMU {duty.qemu_version}, {duty.accel}, {vcpus}, {duty.memory >> 20} MiB"))
    print(bold("\nPins"))
    for line in _pins(plan):
        print(f"  {line}")
    print(bold("\nHost"))
    steps = plan.host_steps()
    if not steps:
        print("  nothing is changed")
    for step in steps:
        print(f"  {step.summary}{'  (needs root)' if step.needs_root else ''}")
        for path, old in step.before.items():
            print(f"    {path}: {old} -> {step.after.get(path, old)}")
    if duty.memory_lock:
        print(f"  QEMU may lock {duty.memory_lock >> 20} MiB of memory: devices reach into it")
    if any(word.startswith('{"driver":"vfio-pci"') for word in plan.argv):
        print(f"  devices are handed over by {'iommufd' if duty.iommufd else 'their IOMMU groups'}")
    for sidecar in plan.duty.sidecars:
        print(f"  beside QEMU: {sidecar.name}: {' '.join(sidecar.argv)}")
    print(bold("\nQEMU"))
    print("  " + " \\\n    ".join(option_lines(plan.argv)))


def _pins(plan: Plan) -> Iterator[str]:
    """Yield why the CPUs were chosen, where qlaunch chose them, and then who runs where."""
    for problem in plan.problems:
        if problem.code == "pins-chosen":
            yield from textwrap.wrap(problem.message, _WIDTH, initial_indent="- ", subsequent_indent="  ")
    pins = plan.duty.pins
    if not (pins.vcpus or pins.iothreads or pins.emulator):
        yield "none: the kernel schedules every thread as it likes"
    for number, cpus in pins.vcpus.items():
        yield f"vCPU {number} on CPU {cpus}"
    for name, cpus in pins.iothreads.items():
        yield f"iothread {name} on CPU {cpus}"
    if pins.emulator:
        yield f"emulator on CPU {pins.emulator}"
