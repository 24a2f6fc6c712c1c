"""Whole cores, as `choose_cpus.py` deals them out.

Owns: grouping of CPUs to cores, and which of them a guest or the host may have. Pure.
"""

from collections.abc import Iterable

import msgspec

from qlaunch.host.core_class import CoreClass
from qlaunch.host.cpus import Cpu, CpuFacts
from qlaunch.values.cpus import CpuSet


class Core(msgspec.Struct, frozen=True, kw_only=True):
    """One core, and its CPUs that are online."""

    number: int
    cpus: tuple[int, ...]
    socket: int
    node: int | None
    domain: tuple[int, int]
    """What shares its last cache: (0, L3), or (1, socket) for cores without an L3."""
    kind: CoreClass | None
    isolated: bool
    sharing: int
    """How many CPUs share the L3, whoever has them; 1 without one."""

    @property
    def rank(self) -> CoreClass:
        """The class; cores of which nothing is known are taken for P."""
        return self.kind or "P"


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """The cores that a guest may have, and those that the host may keep, in the order of their lowest CPU."""

    free: tuple[Core, ...]
    """Neither leased nor partly leased."""
    host: tuple[Core, ...]
    """Of the free ones, those that the kernel schedules on: not isolated, unless every core is."""
    leased: CpuSet

    @property
    def home(self) -> Core | None:
        """The core of the lowest CPU: the kernel boots on it and leaves most of its own work there."""
        return self.host[0] if self.host else None

    def domain_size(self, domain: tuple[int, int]) -> int:
        """How many free cores share a cache."""
        return sum(core.domain == domain for core in self.free)


def take_stock(facts: CpuFacts, taken: CpuSet) -> Supply:
    """Group the online CPUs to cores, and set those of other machines aside."""
    cores = _cores(facts)
    free = tuple(core for core in cores if taken.isdisjoint(core.cpus))
    host = tuple(core for core in free if not core.isolated) or free
    return Supply(free=free, host=host, leased=CpuSet(taken))


def cpus_of(cores: Iterable[Core]) -> CpuSet:
    """Give the CPUs of some cores."""
    return CpuSet(cpu for core in cores for cpu in core.cpus)


def _cores(facts: CpuFacts) -> list[Core]:
    by_number: dict[int, list[int]] = {}
    first: dict[int, Cpu] = {}
    domains = facts.l3_domains()
    for cpu in facts.cpus:
        if cpu.online and cpu.core is not None:
            by_number.setdefault(cpu.core, []).append(cpu.cpu)
            first.setdefault(cpu.core, cpu)
    cores = []
    for number, cpus in by_number.items():
        lead = first[number]
        socket = lead.socket or 0
        cores.append(
            Core(
                number=number,
                cpus=tuple(cpus),
                socket=socket,
                node=lead.node,
                domain=(1, socket) if lead.l3 is None else (0, lead.l3),
                kind=lead.kind,
                isolated=not facts.isolated.isdisjoint(cpus),
                sharing=1 if lead.l3 is None else len(domains[lead.l3].cpus),
            )
        )
    return cores
