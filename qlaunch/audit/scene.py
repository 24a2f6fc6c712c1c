"""What all themes of the audit look at: the machine, the host, and what the chooser of automatic pins would give."""

from functools import cached_property

from qlaunch.errors import Problem, Severity
from qlaunch.host.choose_cpus import CpuChoice, CpuWish, choose_cpus
from qlaunch.host.cpus import Cpu
from qlaunch.host.facts import HostFacts
from qlaunch.machine.model import Machine
from qlaunch.values.cpus import CpuSet


class Scene:
    """One machine on one host. Nothing is read before a theme asks for it."""

    def __init__(self, machine: Machine, facts: HostFacts, *, gpu_node: int | None, taken: CpuSet) -> None:
        self.machine = machine
        self.facts = facts
        self.gpu_node = gpu_node
        self.taken = taken
        self.pins: tuple[int, ...] = tuple(machine.cpu.pin or ())

    @property
    def node(self) -> int | None:
        """The node where the guest belongs: that of its memory, else of its graphics card."""
        return self.gpu_node if self.machine.memory.node is None else self.machine.memory.node

    @cached_property
    def cpus(self) -> dict[int, Cpu]:
        """The CPUs that run, by number."""
        return {cpu.cpu: cpu for cpu in self.facts.cpus.cpus if cpu.online}

    @cached_property
    def placed(self) -> list[Cpu]:
        """The CPU of each pin, those left out that do not run."""
        return [self.cpus[cpu] for cpu in self.pins if cpu in self.cpus]

    @cached_property
    def choice(self) -> CpuChoice:
        """What ``pin = "auto"`` would give this machine."""
        shape = self.machine.cpu.topology
        threads = shape.threads if shape else None
        wish = CpuWish(vcpus=self.machine.cpu.shape().vcpus, threads=threads, node=self.node, taken=self.taken)
        return choose_cpus(self.facts.cpus, wish)

    @cached_property
    def largest(self) -> CpuChoice:
        """What ``pin = "auto"`` would give a machine that takes as much as it can have."""
        return choose_cpus(self.facts.cpus, CpuWish(node=self.node, taken=self.taken))

    def cores(self, cpus: CpuSet) -> CpuSet:
        """Give all CPUs of the cores that some CPUs belong to."""
        return CpuSet(sibling for cpu in cpus if cpu in self.cpus for sibling in self.cpus[cpu].siblings)

    def better_pins(self) -> str:
        """Give the corrected line, or what to do where no choice keeps the rules."""
        choice = self.choice if self.choice.pins else self.largest
        if not choice.pins:
            return self.choice.hint or "this host has no cores to spare: leave cpu.pin out"
        line = f'pin = "{",".join(map(str, choice.pins))}"'
        if choice is self.largest:
            line = f"{shape_line(choice)} and {line}"
        return f'write {line}, or pin = "auto"'


def shape_line(choice: CpuChoice) -> str:
    """Give the topology of a choice as it is written in a machine file."""
    sizes = {"sockets": choice.sockets, "dies": choice.dies, "cores": choice.cores, "threads": choice.threads}
    return f"topology = {{ {', '.join(f'{name} = {size}' for name, size in sizes.items())} }}"


def finding(code: str, key: str, message: str, hint: str, severity: Severity = "warning") -> Problem:
    """Make one; most are warnings, since a guest that is slow runs all the same."""
    return Problem(code=code, key=key, message=message, hint=hint, severity=severity)
