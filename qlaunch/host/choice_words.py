"""Why the CPUs of a machine were chosen, in sentences for `plan`. Pure; decides nothing."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from qlaunch.host.cores import Core, Supply, cpus_of
from qlaunch.host.cpus import CpuFacts
from qlaunch.values.cpus import CpuSet
from qlaunch.values.size import Size


class Chosen(Protocol):
    """What is explained: a `CpuChoice`."""

    @property
    def pins(self) -> tuple[int, ...]:
        """The host CPU of each vCPU."""

    @property
    def guest(self) -> CpuSet:
        """All CPUs of the guest's cores."""

    @property
    def emulator(self) -> CpuSet:
        """Where the emulator runs."""

    @property
    def iothreads(self) -> CpuSet:
        """Where the iothreads run."""

    @property
    def threads(self) -> int:
        """VCPUs a core."""


def explain(
    facts: CpuFacts, supply: Supply, wished_node: int | None, choice: Chosen, parts: Sequence[Sequence[Core]]
) -> Iterator[str]:
    """Yield a sentence for each thing that decided."""
    cores = [core for part in parts for core in part]
    yield _cores(cores, choice)
    yield from _isolated(cores)
    yield from _node(supply, cores, wished_node)
    yield from _kinds(supply, cores)
    yield from _domains(facts, supply, parts)
    if supply.leased:
        yield f"CPUs {supply.leased} are leased by other machines"
    if choice.emulator == choice.iothreads:
        yield f"{_cpus(choice.emulator)} stay with the host, and carry the emulator and the iothreads"
    else:
        yield (f"{_cpus(choice.emulator)} of the host carry the emulator, and {_cpus(choice.iothreads)} the iothreads")


def _cores(cores: Sequence[Core], choice: Chosen) -> str:
    number = f"{len(cores)} whole core{'s' if len(cores) > 1 else ''}"
    text = f"the guest gets {number}, {_cpus(choice.guest)}"
    idle = choice.guest - set(choice.pins)
    if idle:
        return f"{text}; {_cpus(CpuSet(idle))} stay idle, since {len(choice.pins)} vCPUs do not fill both threads"
    return f"{text}, both threads of each" if choice.threads == 2 else text


def _isolated(cores: Sequence[Core]) -> Iterator[str]:
    if all(core.isolated for core in cores):
        yield "the kernel keeps them free of other work (isolcpus)"


def _node(supply: Supply, cores: Sequence[Core], wished: int | None) -> Iterator[str]:
    nodes = sorted({core.node for core in cores if core.node is not None})
    if len({core.node for core in supply.free}) < 2 or not nodes:
        return
    names = " and ".join(str(node) for node in nodes)
    if len(nodes) > 1:
        yield f"no node alone has so many free cores: they are on nodes {names}, and memory of the other is slow"
    elif wished is None:
        yield f"they are all on node {names}"
    elif nodes == [wished]:
        yield f"they are on node {names}, as its device or memory is"
    else:
        yield f"node {wished} has too few free cores: they are on node {names}, away from its device or memory"


def _kinds(supply: Supply, cores: Sequence[Core]) -> Iterator[str]:
    kinds = {core.kind for core in cores if core.kind}
    if len({core.kind for core in supply.free}) < 2 or not kinds:
        return
    if len(kinds) > 1:
        yield f"they are {' and '.join(f'{kind} cores' for kind in sorted(kinds))}: no class alone has so many"
    else:
        yield f"they are {next(iter(kinds))} cores"


def _domains(facts: CpuFacts, supply: Supply, parts: Sequence[Sequence[Core]]) -> Iterator[str]:
    domains = facts.l3_domains()
    if len(domains) < 2:
        return
    for part in parts:
        level, number = part[0].domain
        if level:
            continue
        size = domains[number].size
        named = f"L3 domain {number}" + (f" ({Size(size)})" if size else "")
        complete = len(part) == supply.domain_size(part[0].domain)
        if len(parts) == 1:
            yield f"they share one L3 cache, {named}"
        elif complete:
            yield f"{_cpus(cpus_of(part))} are all that is free of {named}"
        else:
            yield f"{_cpus(cpus_of(part))} are a part of {named}"


def _cpus(cpus: CpuSet) -> str:
    return f"CPU{'s' if len(cpus) > 1 else ''} {cpus}"
