"""Keep the interrupts of passed-through functions on the guest's own CPUs, whenever the guest makes new ones.

A guest's driver turns MSI on long after its start, and again after each reset; the kernel then makes interrupts that
begin on the default CPUs, away from the guest's. Nobody tells of this, so it is looked for. They go with QEMU: there
is nothing to undo.

Source: the kernel's ``drivers/vfio/pci/vfio_pci_intrs.c`` (the names ``vfio-msix[3](0000:0b:00.0)``);
``Documentation/core-api/irq/irq-affinity.rst``.
"""

import os
import re
from collections.abc import Sequence

import trio

from qlaunch.run.voice import Say
from qlaunch.values.cpus import CpuSet

_LOOK_AGAIN_S = 2.0
# Not vfio-intx: an old line may be shared with a device of the host's, and stays when QEMU goes.
_NAMED = re.compile(r"^\s*(\d+):.*\bvfio-msix?\[(\d+)\]\(([0-9a-f:.]+)\)\s*$", re.MULTILINE)


async def keep_interrupts(functions: Sequence[str], cpus: Sequence[int], say: Say) -> None:
    """Put each interrupt of these functions on one of the CPUs, the n-th of a function on the n-th, until cancelled."""
    seen: set[tuple[int, str]] = set()
    while True:
        moved, seen = guide(functions, cpus, seen)
        if moved:
            say(f"{moved} interrupts of the guest's devices are on its CPUs {','.join(map(str, cpus))}")
        await trio.sleep(_LOOK_AGAIN_S)


def guide(
    functions: Sequence[str], cpus: Sequence[int], seen: set[tuple[int, str]], proc: str = "/proc"
) -> tuple[int, set[tuple[int, str]]]:
    """Move those that are new; give how many were moved, and what is there now.

    One that was made anew under its old number is where new ones begin; one that somebody has moved is left.
    """
    found = vfio_interrupts(_read(f"{proc}/interrupts"), functions)
    default = _beginning(proc) if found else None
    moved = 0
    for number, index, function in found:
        file = f"{proc}/irq/{number}/smp_affinity_list"
        if (number, function) not in seen or _read(file).strip() == default:
            moved += _move(file, cpus[index % len(cpus)])
    return moved, {(number, function) for number, _, function in found}


def vfio_interrupts(text: str, functions: Sequence[str]) -> list[tuple[int, int, str]]:
    """Give number, index within its function, and function of each, from the text of /proc/interrupts."""
    return [
        (int(number), int(index), function) for number, index, function in _NAMED.findall(text) if function in functions
    ]


def _beginning(proc: str) -> str:
    """Give the CPUs on which new interrupts begin, as a list."""
    return str(CpuSet.parse_mask(_read(f"{proc}/irq/default_smp_affinity") or "0"))


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:  # gone meanwhile
        return ""


def _move(file: str, cpu: int) -> bool:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, str(cpu).encode())
        finally:
            os.close(descriptor)
    except OSError:  # gone already, or one that cannot be moved
        return False
    return True
