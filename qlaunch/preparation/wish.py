"""What the themes of a preparation know: the machine, its pins as they were chosen, and the host's facts."""

import msgspec

from qlaunch.host.facts import HostFacts
from qlaunch.machine.model import Machine
from qlaunch.values.cpus import CpuSet


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One machine on one host. ``runtime`` is the machine's own runtime folder, ``state`` where it keeps its logs."""

    name: str
    uuid: str
    machine: Machine
    facts: HostFacts
    runtime: str
    state: str = ""
    vars: str = ""  # the variable store of the firmware, if it has one
    iommufd: bool = False  # whether VFIO devices are had by iommufd

    @property
    def vcpu_cpus(self) -> CpuSet:
        """The host CPUs that vCPUs are pinned to: those which the shield and the interrupts leave alone."""
        return CpuSet(self.machine.cpu.pin or ())

    @property
    def all_cpus(self) -> CpuSet:
        """The host CPUs of every pinned thread of the machine."""
        machine = self.machine
        iothreads = (thread.pin for thread in machine.iothread if thread.pin)
        return CpuSet(self.vcpu_cpus.union(machine.cpu.emulator or CpuSet(), *iothreads))
