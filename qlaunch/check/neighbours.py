"""Software of the host that works against the machine, and sleep, which a passed device may not survive."""

from collections.abc import Iterator

from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed, unknown
from qlaunch.host.processes import running_programs

TITLE = "Neighbours"
_NVIDIA = "10de"
# The kernel keeps 15 letters of a name.
_PERSISTENCE = "nvidia-persistenced"[:15]
_PROGRAMS = ("irqbalance", "tuned", _PERSISTENCE)


def checks(question: Question) -> Iterator[Check]:
    """Yield the checks."""
    programs = running_programs(question.facts.tree, _PROGRAMS)
    if programs is None:
        yield unknown("conflicts", "the processes of this host are not to be seen")
    else:
        found = list(_conflicts(question, programs))
        yield from found or [passed("conflicts", "no program runs that works against it")]
    yield from _libvirt(question)
    if question.machine and question.machine.pci:
        if question.machine.host.inhibit_sleep:
            yield passed("sleep", "the host is kept awake while the machine runs")
        else:
            message = "the host may sleep while the machine has a device: many do not wake again"
            yield failed("sleep", message, "write inhibit_sleep = true in [host]", "warning")


def _conflicts(question: Question, programs: dict[str, tuple[int, ...]]) -> Iterator[Check]:
    machine = question.machine
    host = machine.host if machine else None
    rules = (
        ("irqbalance", bool(host and host.irq), "moves interrupts back to the guest's CPUs", "irqbalance.service"),
        ("tuned", bool(host and host.governor), "sets the governor too", "tuned.service"),
        (
            _PERSISTENCE,
            any(device.vendor == _NVIDIA for device in question.wanted),
            "keeps the card open",
            "nvidia-persistenced.service",
        ),
    )
    for name, matters, what, unit in rules:
        if matters and host and name in programs and unit not in host.services.stop:
            number = programs[name][0]
            message = f"{unit.removesuffix('.service')} (process {number}) {what}"
            yield failed("conflicts", message, f'add "{unit}" to services.stop in [host]', "warning")


def _libvirt(question: Question) -> Iterator[Check]:
    names = [name[:-4] for name in question.facts.tree.listdir("/run/libvirt/qemu") if name.endswith(".xml")]
    if names:
        message = f"libvirt runs {', '.join(names)}: what it leases, qlaunch does not know"
        yield failed("libvirt", message, f"see: virsh dumpxml {names[0]}", "info")
