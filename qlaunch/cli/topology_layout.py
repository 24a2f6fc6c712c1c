"""Packages, L3 domains and cores in the order in which `topology` shows them, and who is pinned to which CPU.

Owns: order, grouping and words, for the terminal and for the drawing alike. Must not: print.
"""

from collections.abc import Iterator
from itertools import groupby

import msgspec

from qlaunch.duty import Pins
from qlaunch.host.core_class import CORE_CLASSES
from qlaunch.host.cpus import Cpu, CpuFacts
from qlaunch.host.numa import Node
from qlaunch.values.cpus import CpuSet
from qlaunch.values.size import Size


class Core(msgspec.Struct, frozen=True, kw_only=True):
    """One core and its CPUs that are online."""

    number: int | None
    cpus: tuple[Cpu, ...]
    kind: str = ""
    """Its class, where those of its domain differ."""

    @property
    def isolated(self) -> bool:
        """Whether the kernel schedules nothing on it by itself."""
        return any(cpu.isolated for cpu in self.cpus)

    @property
    def marks(self) -> str:
        """What sets it apart from its neighbours, in words."""
        return " ".join([*([self.kind] if self.kind else []), *(["isolated"] if self.isolated else [])])


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """The cores that share an L3 cache; ``title`` says what is the same for all of them."""

    title: str
    cores: tuple[Core, ...]


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One processor package."""

    title: str
    domains: tuple[Domain, ...]


def packages(facts: CpuFacts) -> tuple[Package, ...]:
    """Group the CPUs that are online."""
    online = [cpu for cpu in facts.cpus if cpu.online]
    # Cores without an L3, such as low-power ones, come last in their package.
    online.sort(key=lambda cpu: (cpu.socket or 0, cpu.l3 is None, cpu.l3 or 0, cpu.core or 0, cpu.cpu))
    return tuple(
        Package(
            title=f"package {'?' if socket is None else socket}",
            domains=tuple(_domain(facts, list(cpus)) for _, cpus in groupby(package, key=lambda cpu: cpu.l3)),
        )
        for socket, package in groupby(online, key=lambda cpu: cpu.socket)
    )


def _domain(facts: CpuFacts, cpus: list[Cpu]) -> Domain:
    first = cpus[0]
    shared = facts.l3_domains()[first.l3] if first.l3 is not None else None
    parts = [f"L3 {Size(shared.size)}" if shared and shared.size else "L3 unknown"]
    if first.l3 is None and facts.l3_domains():
        parts = ["no L3"]
    parts += [f"node {first.node}"] if first.node is not None else []
    kinds = [kind for kind in CORE_CLASSES if any(cpu.kind == kind for cpu in cpus)]
    governors = sorted({cpu.governor for cpu in cpus if cpu.governor})
    parts += [f"{'/'.join(kinds)} cores"] if kinds else []
    parts += [f"governor {'/'.join(governors)}"] if governors else []
    return Domain(
        title=", ".join(parts),
        cores=tuple(
            _core(number, tuple(core), mixed=len(kinds) > 1) for number, core in groupby(cpus, key=lambda cpu: cpu.core)
        ),
    )


def _core(number: int | None, cpus: tuple[Cpu, ...], *, mixed: bool) -> Core:
    return Core(number=number, cpus=cpus, kind=cpus[0].kind or "" if mixed else "")


def offline_cpus(facts: CpuFacts) -> CpuSet:
    """Give the CPUs that are present and switched off."""
    return CpuSet(cpu.cpu for cpu in facts.cpus if not cpu.online)


def uses(pins: Pins, cpus: set[int]) -> Iterator[str]:
    """Yield what of a machine is pinned to any of some CPUs: ``vCPU 0,1``, ``iothread io0``, ``emulator``."""
    vcpus = [number for number, pinned in pins.vcpus.items() if cpus & CpuSet.parse(pinned)]
    if vcpus:
        yield f"vCPU {','.join(vcpus)}"
    for thread, pinned in pins.iothreads.items():
        if cpus & CpuSet.parse(pinned):
            yield f"iothread {thread}"
    if pins.emulator and cpus & CpuSet.parse(pins.emulator):
        yield "emulator"


def node_line(node: Node) -> str:
    """Give a NUMA node in a sentence."""
    pools = [f"{pool.free} of {pool.total} pages of {Size(pool.page_size)} free" for pool in node.hugepages]
    memory = f"{node.memory_total >> 20} MiB" if node.memory_total else "memory unknown"
    free = f", {node.memory_free >> 20} MiB free" if node.memory_free else ""
    return f"node {node.node}: CPU {node.cpus}, {memory}{free}{''.join(f', {pool}' for pool in pools)}"
