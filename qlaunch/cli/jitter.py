"""`qlaunch jitter NAME`: measure how calm a machine's CPUs are, with its own settings; alone, or against fewer."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from qlaunch.autopin import pin_automatically
from qlaunch.cli.prepare import insist, leased_cpus
from qlaunch.cli.terminal import Live, say_error
from qlaunch.errors import HostError, UsageError
from qlaunch.found import look
from qlaunch.host.folders import Folders, find_folders
from qlaunch.host.tree import Tree
from qlaunch.jitter.machine import COMPARED, SETTINGS, Variant, probe_machine, without_shield
from qlaunch.jitter.measure import Measured, measured, ratios
from qlaunch.jitter.table import lines
from qlaunch.machine.load import Loaded, load
from qlaunch.plan import Plan, make_plan
from qlaunch.run.changes import insist_on_root
from qlaunch.run.folder import RunFolder
from qlaunch.values.cpus import CpuSet

# These say that the pins are wrong, which no stand-in for the shield mends.
_OF_PINS = ("needs-pins", "no-cpu-left")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints. ``shield`` is ``none``, ``whole``, or ``load`` where only the load was kept off."""

    machine: str
    accel: str
    seconds: int
    load: int
    shield: str
    runs: list[Measured]
    fewer_stalls_above_1_ms: dict[str, float]


def run(options: argparse.Namespace) -> int:
    """Measure, print, draw."""
    folders = find_folders()
    loaded = _with_pins(load(options.name, options.overrides), folders)
    variants: tuple[Variant, ...] = COMPARED if options.compare else ("own",)
    if options.compare and not loaded.machine.cpu.pin:
        raise UsageError(f"{loaded.name} has no pins to compare", "add: --set cpu.pin=auto")
    _try_to_write(options.svg)
    planned = [_planned(probe_machine(loaded, variant), folders) for variant in variants]
    for plan, _ in planned:
        insist(plan)
        insist_on_root(loaded.name, plan.changes)
    live = Live(loaded.name)
    with _kept_down(folders, loaded.name):
        try:
            runs = [
                _measured(variant, plan, load_cpus, options, live)
                for variant, (plan, load_cpus) in zip(variants, planned, strict=True)
            ]
        except _interrupted():
            say_error("the measurement was interrupted; the host is as it was")
            return 130
    _report(loaded, planned, runs, options)
    return 0


def _interrupted() -> type[Exception]:
    from qlaunch.run.jitter import Interrupted  # noqa: PLC0415 - trio

    return Interrupted


def _with_pins(loaded: Loaded, folders: Folders) -> Loaded:
    """Choose automatic pins as `up` would: for the machine with its devices, which decide about the node."""
    found = look(loaded.name, loaded.machine, folders)
    taken = leased_cpus(Tree(), except_for=loaded.name)
    machine, _ = pin_automatically(loaded.machine, found.cpus, gpu_node=found.gpu_node, taken=taken)
    return msgspec.structs.replace(loaded, machine=machine)


def _planned(loaded: Loaded, folders: Folders) -> tuple[Plan, CpuSet | None]:
    """Plan a run; also give where the load must stay, on a host that can have no shield."""
    taken = leased_cpus(Tree(), except_for=loaded.name)
    found = look(loaded.name, loaded.machine, folders)
    plan = make_plan(loaded, found, taken)
    cannot = [problem for problem in plan.problems if problem.key == "host.shield" and problem.severity == "error"]
    if not cannot or any(problem.code in _OF_PINS for problem in cannot):
        return plan, None
    others = CpuSet(found.online - CpuSet(map(int, plan.duty.pins.vcpus.values())))
    return make_plan(without_shield(loaded), found, taken), others


@contextmanager
def _kept_down(folders: Folders, name: str) -> Iterator[None]:
    """Keep the machine itself from being started meanwhile. Raises HostError when it runs, or left something behind."""
    folder = RunFolder(folders.of(name)[0])
    folder.claim()
    record = folder.read()
    if (record and record.qemu and record.qemu.is_alive()) or folder.has_journal():
        raise HostError(f"{name} is not down: a killed supervisor left it", f"run: qlaunch down {name}")
    try:
        yield
    finally:
        folder.remove()


def _measured(
    variant: Variant, plan: Plan, load_cpus: CpuSet | None, options: argparse.Namespace, live: Live
) -> Measured:
    from qlaunch.run.jitter import Trial, measure  # noqa: PLC0415 - trio, once the plans are sound

    trial = Trial(seconds=options.seconds, load=options.load, load_cpus=load_cpus)
    live.say(f"measuring {variant}: {SETTINGS[variant]}")
    report, seen = measure(plan, live.say if not options.compare else _silent, trial)
    return measured(variant, SETTINGS[variant], report, seen)


def _silent(_: str) -> None:
    """Say nothing of each start and end: four runs are one measurement."""


def _report(
    loaded: Loaded, planned: list[tuple[Plan, CpuSet | None]], runs: list[Measured], options: argparse.Namespace
) -> None:
    duty = planned[0][0].duty
    load_only = any(cpus for _, cpus in planned)
    if options.svg:
        from qlaunch.jitter.chart import draw  # noqa: PLC0415 - only on request

        vcpus = "1 vCPU" if duty.vcpus == 1 else f"{duty.vcpus} vCPUs"
        title = f"{loaded.name}: {vcpus}, {duty.accel}, {options.seconds} s, {options.load} busy tasks"
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(draw(title, runs))
    if options.json:
        whole = any(step.kind == "shield" or "shield" in step.kind for plan, _ in planned for step in plan.changes)
        outcome = Outcome(
            machine=loaded.name,
            accel=duty.accel,
            seconds=options.seconds,
            load=options.load,
            shield="load" if load_only else "whole" if whole else "none",
            runs=runs,
            fewer_stalls_above_1_ms=ratios(runs) if len(runs) > 1 else {},
        )
        print(msgspec.json.encode(outcome).decode())
        return
    print(f"{loaded.name}: {duty.accel}, {options.seconds} s a run, {options.load} busy tasks beside it\n")
    for line in lines(runs):
        print(line)
    if load_only:
        print("\nThis host can have no shield: only the load of this measurement was kept off the guest's CPUs.")


def _try_to_write(path: str | None) -> None:
    """Find out before a minute of measuring whether the picture can be written. Raises HostError."""
    if path is None:
        return
    existed = os.path.exists(path)
    try:
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise HostError(f"cannot write {path}: {reason}", "name another file with --svg") from error
    if not existed:
        os.unlink(path)
