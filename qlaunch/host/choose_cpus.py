"""Automatic pins: which host CPUs the vCPUs, the emulator and the iothreads of one machine get. Pure.

The rules, in the order in which they give way:
1. The guest gets whole cores; the host, the emulator and the iothreads keep at least one whole core. Never otherwise.
2. No core that another machine leases; cores that the kernel keeps free (isolcpus) go to guests, never to the host.
3. All on one node, that of the GPU if there is one; all of one class of core, the best that holds them.
4. As few L3 domains as hold them; complete ones first; the core of the lowest CPU last.
5. The threads of a core are neighbours in the pin order, so that the guest's cores are the host's.

Source: with host-cache-info a guest groups vCPUs by APIC id, in groups of the next power of two above the threads of
an L3 (``target/i386/cpu.c``, ``encode_cache_cpuid4``). So a complete domain must come first, and domains whose threads
are no power of two must be dies of the guest.
"""

from collections.abc import Iterator, Sequence

import msgspec

from qlaunch.host.choice_words import explain
from qlaunch.host.core_class import CoreClass
from qlaunch.host.cores import Core, Supply, cpus_of, take_stock
from qlaunch.host.cpus import CpuFacts
from qlaunch.values.cpus import CpuSet

# Cores that run the same guest equally well but for their cache may be mixed; P and E never are.
_CLASS_ORDER: tuple[tuple[CoreClass, ...], ...] = (("X3D",), ("P",), ("X3D", "P"), ("E",), ("LP-E",))


class CpuWish(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine asks for."""

    vcpus: int | None = None
    """None: as many as can be given well."""
    threads: int | None = None
    """vCPUs a core; None: as many as the host's cores have."""
    node: int | None = None
    """The node of the GPU, or of the memory."""
    taken: CpuSet = CpuSet()
    """What other running machines lease."""


class CpuChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; without pins, ``refusal`` says why and ``hint`` what to do."""

    pins: tuple[int, ...] = ()
    """The host CPU of each vCPU."""
    guest: CpuSet = CpuSet()
    """All CPUs of the guest's cores, those without a vCPU too: nothing else is to run there."""
    emulator: CpuSet = CpuSet()
    iothreads: CpuSet = CpuSet()
    host: CpuSet = CpuSet()
    """What is left to the host, the two above included."""
    sockets: int = 1
    dies: int = 1
    cores: int = 1
    threads: int = 1
    reasons: tuple[str, ...] = ()
    refusal: str | None = None
    hint: str = ""


class _Pool(msgspec.Struct, frozen=True):
    """Cores to choose from, any number of which may go, and how many vCPUs each of them runs."""

    cores: tuple[Core, ...]
    threads: int


# Stands for all nodes together; the kernel's numbers begin at 0.
_ANY = -1


def choose_cpus(facts: CpuFacts, wish: CpuWish) -> CpuChoice:
    """Choose; never raises, and never chooses in part."""
    supply = take_stock(facts, wish.taken)
    for pool in _pools(supply, wish):
        wanted = _core_count(supply, pool, wish)
        if wanted:
            return _choice(facts, supply, wish, _pick(supply, pool, wanted, wish.node), pool.threads)
    return _refuse(supply, wish)


def _pools(supply: Supply, wish: CpuWish) -> Iterator[_Pool]:
    """Yield the cores to choose from, best first."""
    isolated = tuple(core for core in supply.free if core.isolated)
    for cores in (isolated, supply.free) if 0 < len(isolated) < len(supply.free) else (supply.free,):
        for node in _node_order(supply, cores, wish):
            here = [core for core in cores if node in (_ANY, core.node)]
            for kinds in _CLASS_ORDER:
                alike = [core for core in here if core.rank in kinds]
                if any(core.rank == kinds[0] for core in alike):
                    yield _pool(supply, alike, wish)


def _node_order(supply: Supply, cores: Sequence[Core], wish: CpuWish) -> list[int | None]:
    """Give the wished node, then those without the lowest CPU, the freest first; at last all nodes together."""
    count: dict[int | None, int] = {}
    for core in cores:
        count[core.node] = count.get(core.node, 0) + 1
    home = supply.home
    order = sorted(
        count, key=lambda node: (node != wish.node, home is not None and node == home.node, -count[node], node or 0)
    )
    return [*order, _ANY] if len(order) > 1 else order


def _pool(supply: Supply, cores: list[Core], wish: CpuWish) -> _Pool:
    """Keep the cores with as many threads as most have; the host's own one is not among them when it has no other."""
    counts = [len(core.cpus) for core in cores]
    threads = max(set(counts), key=lambda count: (counts.count(count), count))
    alike = {core.number: core for core in cores if len(core.cpus) == threads}
    if supply.host and all(core.number in alike for core in supply.host):
        # Of two caches the larger stays complete; else the core of the lowest CPU is the host's.
        spare = min(supply.host, key=lambda core: (core.kind == "X3D", core is not supply.home, -core.number))
        del alike[spare.number]
    return _Pool(tuple(alike.values()), min(threads, wish.threads or threads))


def _core_count(supply: Supply, pool: _Pool, wish: CpuWish) -> int:
    """Give how many cores the guest takes of a pool; 0 when it cannot be served from there."""
    if wish.vcpus is None:
        # A complete cache of its own is worth more to a guest than CPU 0 is to the host; else that stays out.
        spared = supply.home in pool.cores and len(pool.cores) > 1 and pool.cores[0].kind != "X3D"
        return len(pool.cores) - spared
    # An odd number on cores with two threads: a core each, and the second threads stay idle.
    wanted = wish.vcpus // pool.threads if wish.vcpus % pool.threads == 0 else wish.vcpus
    return wanted if wanted <= len(pool.cores) else 0


def _pick(supply: Supply, pool: _Pool, wanted: int, node: int | None) -> list[list[Core]]:
    """Pick cores, a list for each L3 domain, complete domains first."""
    home = supply.home
    by_domain: dict[tuple[int, int], list[Core]] = {}
    # The core of the lowest CPU comes last in its domain.
    for core in sorted(pool.cores, key=lambda core: (core is home, core.number)):
        by_domain.setdefault(core.domain, []).append(core)
    single = [cores for cores in by_domain.values() if len(cores) >= wanted]
    if single:
        # The smallest that holds them: a larger one stays whole for another machine.
        best = min(
            single,
            key=lambda cores: (
                home in cores[:wanted],
                home is not None and home.domain == cores[0].domain,
                len(cores),
                cores[0].number,
            ),
        )
        return [sorted(best[:wanted], key=_number)]
    if len(pool.cores) > wanted and not any(core.kind == "X3D" for core in pool.cores):
        by_domain = {domain: [core for core in cores if core is not home] for domain, cores in by_domain.items()}
    usable = [cores for cores in by_domain.values() if cores]
    usable.sort(
        key=lambda cores: (cores[0].node != node, cores[0].kind != "X3D", -len(cores), home in cores, cores[0].number)
    )
    return _spread(supply, usable, wanted, pool.threads)


def _spread(supply: Supply, domains: list[list[Core]], wanted: int, threads: int) -> list[list[Core]]:
    """Take cores of several domains: whole ones first, or as many of each where only dies show their borders right."""
    parts: list[list[Core]] = []
    left = wanted
    for cores in domains:
        if left:
            parts.append(sorted(cores[:left], key=_number))
            left -= len(parts[-1])
    parts.sort(
        key=lambda part: (len(part) < supply.domain_size(part[0].domain), part[0].socket, -len(part), part[0].number)
    )
    if all(_shown(len(part), part[0], threads) for part in parts[:-1]):
        return parts
    share, rest = divmod(wanted, len(parts))
    even = [sorted(cores[:share], key=_number) for cores in domains[: len(parts)]]
    dies = 1 << (share - 1).bit_length() if share else 0
    if rest or not all(len(part) == share and _shown(dies, part[0], threads) for part in even):
        return parts
    return sorted(even, key=lambda part: part[0].number)


def _shown(cores: int, core: Core, threads: int) -> bool:
    """Whether so many cores fill one of the groups of APIC ids by which the guest sees an L3."""
    return cores * threads == 1 << (core.sharing - 1).bit_length()


def _number(core: Core) -> int:
    return core.number


def _choice(facts: CpuFacts, supply: Supply, wish: CpuWish, parts: list[list[Core]], threads: int) -> CpuChoice:
    chosen = [core for part in parts for core in part]
    threads = threads if wish.vcpus is None or wish.vcpus % threads == 0 else 1
    sockets, dies = _shape(parts)
    given = {core.number for core in chosen}
    left = [core for core in supply.host if core.number not in given]
    emulator, iothreads = _service(left, chosen)
    choice = CpuChoice(
        pins=tuple(cpu for core in chosen for cpu in core.cpus[:threads]),
        guest=cpus_of(chosen),
        emulator=emulator,
        iothreads=iothreads,
        host=cpus_of(left),
        sockets=sockets,
        dies=dies,
        cores=len(chosen) // (sockets * dies),
        threads=threads,
    )
    return msgspec.structs.replace(choice, reasons=tuple(explain(facts, supply, wish.node, choice, parts)))


def _shape(parts: list[list[Core]]) -> tuple[int, int]:
    """Give sockets and dies of the guest: those of the host, where each holds as many of the guest's cores."""
    order = [part[0].socket for part in parts]
    sockets = len(set(order))
    dies, rest = divmod(len(parts), sockets)
    alike = len({len(part) for part in parts}) == 1 and order == [
        order[index * dies] for index in range(sockets) for _ in range(dies)
    ]
    return (sockets, dies) if alike and not rest else (1, 1)


def _service(left: list[Core], chosen: list[Core]) -> tuple[CpuSet, CpuSet]:
    """Give the emulator and the iothreads two CPUs each, near the guest; the same two where the host has no more."""
    node, domains = chosen[0].node, {core.domain for core in chosen}
    # On the guest's node, slow cores last; then away from the guest's cache; then low numbers.
    local = [core for core in left if core.node == node] or left
    near = sorted(local, key=lambda core: (core.kind == "LP-E", core.domain in domains, core.number))
    emulator: list[Core] = []
    iothreads: list[Core] = []
    for core in near:
        if len(cpus_of(emulator)) < 2:
            emulator.append(core)
        elif len(cpus_of(iothreads)) < 2:
            iothreads.append(core)
    first = cpus_of(emulator)
    return first, cpus_of(iothreads) or first


def _refuse(supply: Supply, wish: CpuWish) -> CpuChoice:
    """Say why nothing fits, and the most that would."""
    whole = list(_pools(supply, msgspec.structs.replace(wish, vcpus=None)))
    most = max((len(pool.cores) * pool.threads for pool in whole), default=0)
    left = cpus_of(supply.host)
    if not left and not supply.leased:
        return CpuChoice(refusal="nothing is known of this host's CPUs", hint="see: qlaunch topology")
    leased = f", while other machines lease CPUs {supply.leased}" if supply.leased else ""
    if not most:
        message = (
            f"no whole core can be given to the guest: the host must keep one, and has CPUs {left or 'none'}{leased}"
        )
        return CpuChoice(refusal=message, hint="pin the vCPUs by hand, or leave them unpinned", host=left)
    message = f"{wish.vcpus} vCPUs do not fit on whole cores of one class with one left to the host{leased}"
    return CpuChoice(refusal=message, hint=f"ask for at most {most} vCPUs, or pin them by hand", host=left)
