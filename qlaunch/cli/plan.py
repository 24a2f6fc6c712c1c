"""`qlaunch plan NAME`: everything that `up` would do."""

import argparse

import msgspec

from qlaunch.cli.argv import option_lines
from qlaunch.cli.prepare import host_root, plan_for, tell
from qlaunch.cli.terminal import bold
from qlaunch.plan import Plan


def run(options: argparse.Namespace) -> int:
    """Print the plan for people, or in the documented JSON shape."""
    plan = plan_for(options.name, options.overrides, host_root(options))
    if options.json:
        print(msgspec.json.encode(plan.as_json()).decode())
        return 0
    tell(plan)
    _print(plan)
    return 0


def _print(plan: Plan) -> None:
    duty = plan.duty
    print(bold(f"{duty.name}: QEMU {duty.qemu_version}, {duty.accel}, {duty.vcpus} vCPUs, {duty.memory >> 20} MiB"))
    print(bold("\nPins"))
    pins = duty.pins
    if not (pins.vcpus or pins.iothreads or pins.emulator):
        print("  none: the kernel schedules every thread as it likes")
    for number, cpus in pins.vcpus.items():
        print(f"  vCPU {number} on CPU {cpus}")
    for name, cpus in pins.iothreads.items():
        print(f"  iothread {name} on CPU {cpus}")
    if pins.emulator:
        print(f"  emulator on CPU {pins.emulator}")
    print(bold("\nHost"))
    if not plan.steps:
        print("  nothing is changed")
    for step in plan.steps:
        print(f"  {step.summary}{'  (needs root)' if step.needs_root else ''}")
        for path, old in step.before.items():
            print(f"    {path}: {old} -> {step.after.get(path, old)}")
    for sidecar in plan.sidecars:
        print(f"  beside QEMU: {sidecar.name}: {' '.join(sidecar.argv)}")
    print(bold("\nQEMU"))
    print("  " + " \\\n    ".join(option_lines(plan.argv)))
