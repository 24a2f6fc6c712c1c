"""CPUs: cores, packages, dies, caches, frequency, and which are online or kept free by the kernel.

Numbers are the kernel's CPU numbers. ``core`` and ``l3`` count over the whole host in the order of their lowest CPU, as
`lscpu` does, since the kernel's own core numbers repeat in each package.

Source: the kernel's ``Documentation/ABI/stable/sysfs-devices-system-cpu`` and
``Documentation/admin-guide/cputopology.rst``; an offline CPU has no ``topology`` and no ``cache`` folder.
"""

from collections.abc import Iterable

import msgspec

from qlaunch.host.core_class import CoreClass, Strength, classify
from qlaunch.host.cpufreq import Rates, read_boost, read_rates
from qlaunch.host.tree import Tree
from qlaunch.values.cpus import CpuSet

_ROOT = "/sys/devices/system/cpu"
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """One cache, once, however many CPUs share it."""

    level: int
    kind: str
    """``Data``, ``Instruction`` or ``Unified``."""
    size: int | None
    """Bytes."""
    cpus: CpuSet


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    """One logical CPU. None is unknown, as all of the topology of an offline CPU is."""

    cpu: int
    core: int | None = None
    socket: int | None = None
    die: int | None = None
    node: int | None = None
    l3: int | None = None
    siblings: tuple[int, ...] = ()
    """The CPUs of its core, itself among them."""
    online: bool = True
    isolated: bool = False
    max_khz: int | None = None
    kind: CoreClass | None = msgspec.field(default=None, name="class")
    driver: str | None = None
    governor: str | None = None
    min_khz: int | None = None
    highest_perf: int | None = None
    nominal_perf: int | None = None
    core_id: int | None = None
    """The kernel's number of the core, which repeats in each package."""


class CpuFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Every CPU that is present, in order, and the caches."""

    cpus: tuple[Cpu, ...] = ()
    caches: tuple[Cache, ...] = ()
    online: CpuSet = CpuSet()
    present: CpuSet = CpuSet()
    possible: CpuSet = CpuSet()
    isolated: CpuSet = CpuSet()
    nohz_full: CpuSet = CpuSet()
    smt: str | None = None
    """``on``, ``off``, ``forceoff``, ``notsupported``, ``notimplemented``."""
    boost: bool | None = None

    def l3_domains(self) -> tuple[Cache, ...]:
        """Give the L3 caches; ``Cpu.l3`` is the place in this tuple."""
        return tuple(cache for cache in self.caches if cache.level == 3)

    def get(self, cpu: int) -> Cpu | None:
        """Give one CPU by its number."""
        return next((one for one in self.cpus if one.cpu == cpu), None)


class _Place(msgspec.Struct):
    """What the kernel says of one online CPU."""

    core_id: int | None
    socket: int | None
    die: int | None
    siblings: CpuSet


def read_cpus(tree: Tree) -> CpuFacts:
    """Read every CPU; of a container without /sys/devices there are none."""
    present, online = _present(tree)
    isolated = tree.cpus(f"{_ROOT}/isolated") or CpuSet()
    order = sorted(present)
    running = [cpu for cpu in order if cpu in online]
    places = {cpu: _place(tree, cpu) for cpu in running}
    caches = _caches(tree, running)
    domains = [cache for cache in caches if cache.level == 3]
    l3 = {cpu: index for index, cache in enumerate(domains) for cpu in cache.cpus}
    nodes = _nodes(tree)
    cores = _numbered(places)
    rates = {cpu: read_rates(tree, cpu) for cpu in running}
    kinds = classify(tree, [_strength(cpu, rates[cpu], l3, domains) for cpu in running])
    shared = _Shared(cores, nodes, l3, kinds, isolated)
    return CpuFacts(
        cpus=tuple(
            _merge(cpu, places[cpu], rates[cpu], shared)
            if cpu in places
            else Cpu(cpu=cpu, online=False, node=nodes.get(cpu), isolated=cpu in isolated)
            for cpu in order
        ),
        caches=tuple(caches),
        online=CpuSet(online & present),
        present=present,
        possible=tree.cpus(f"{_ROOT}/possible") or present,
        isolated=isolated,
        nohz_full=tree.cpus(f"{_ROOT}/nohz_full") or CpuSet(),
        smt=tree.read(f"{_ROOT}/smt/control"),
        boost=read_boost(tree),
    )


class _Shared(msgspec.Struct):
    """What was found for all CPUs together, by CPU."""

    cores: dict[int, int]
    nodes: dict[int, int]
    l3: dict[int, int]
    kinds: dict[int, CoreClass]
    isolated: CpuSet


def _merge(cpu: int, place: _Place, rates: Rates, shared: _Shared) -> Cpu:
    return Cpu(
        cpu=cpu,
        core=shared.cores.get(cpu),
        socket=place.socket,
        die=place.die,
        node=shared.nodes.get(cpu),
        l3=shared.l3.get(cpu),
        siblings=tuple(sorted(place.siblings)),
        isolated=cpu in shared.isolated,
        max_khz=rates.max_khz,
        kind=shared.kinds.get(cpu),
        driver=rates.driver,
        governor=rates.governor,
        min_khz=rates.min_khz,
        highest_perf=rates.highest_perf,
        nominal_perf=rates.nominal_perf,
        core_id=place.core_id,
    )


def _present(tree: Tree) -> tuple[CpuSet, CpuSet]:
    online, present = tree.cpus(f"{_ROOT}/online"), tree.cpus(f"{_ROOT}/present")
    if present is None:
        folders = [name[3:] for name in tree.listdir(_ROOT) if name.startswith("cpu")]
        present = CpuSet(int(number) for number in folders if number.isascii() and number.isdigit())
    return CpuSet(present | (online or CpuSet())), present if online is None else online


def _place(tree: Tree, cpu: int) -> _Place:
    folder = f"{_ROOT}/cpu{cpu}/topology"
    # thread_siblings_list is the older name of core_cpus_list.
    siblings = tree.cpus(f"{folder}/core_cpus_list") or tree.cpus(f"{folder}/thread_siblings_list") or CpuSet()
    return _Place(
        core_id=tree.number(f"{folder}/core_id"),
        socket=_known(tree.number(f"{folder}/physical_package_id")),
        die=_known(tree.number(f"{folder}/die_id")),
        siblings=CpuSet(siblings | {cpu}),
    )


def _known(number: int | None) -> int | None:
    """The kernel prints -1 for a number that it does not know."""
    return None if number is None or number < 0 else number


def _numbered(places: dict[int, _Place]) -> dict[int, int]:
    """Number the cores over the whole host, in the order of their lowest CPU."""
    numbers: dict[int, int] = {}
    count = 0
    for cpu, place in places.items():
        if cpu not in numbers:
            numbers.update(dict.fromkeys((*place.siblings, cpu), count))
            count += 1
    return numbers


def _caches(tree: Tree, running: Iterable[int]) -> list[Cache]:
    """Read each cache once: a CPU that an earlier one shares a cache with is not asked again."""
    caches: list[Cache] = []
    covered: dict[str, set[int]] = {}
    for cpu in running:
        folder = f"{_ROOT}/cpu{cpu}/cache"
        for name in tree.listdir(folder):
            seen = covered.setdefault(name, set())
            if cpu in seen or not name.startswith("index"):
                continue
            level = tree.number(f"{folder}/{name}/level")
            if level is None:
                continue
            shared = CpuSet((tree.cpus(f"{folder}/{name}/shared_cpu_list") or CpuSet()) | {cpu})
            seen |= shared
            kind = tree.read(f"{folder}/{name}/type") or "Unified"
            caches.append(Cache(level=level, kind=kind, size=_size(tree.read(f"{folder}/{name}/size")), cpus=shared))
    return caches


def _size(text: str | None) -> int | None:
    """Read ``32768K``."""
    if not text or not text[:-1].isascii() or not text[:-1].isdigit():
        return None
    return int(text[:-1]) * _UNITS[text[-1]] if text[-1] in _UNITS else None


def _nodes(tree: Tree) -> dict[int, int]:
    folder = "/sys/devices/system/node"
    nodes: dict[int, int] = {}
    for number in sorted(tree.cpus(f"{folder}/online") or ()):
        nodes.update(dict.fromkeys(tree.cpus(f"{folder}/node{number}/cpulist") or (), number))
    return nodes


def _strength(cpu: int, rates: Rates, l3: dict[int, int], domains: list[Cache]) -> Strength:
    domain = l3.get(cpu)
    size = domains[domain].size if domain is not None else None
    return Strength(cpu=cpu, max_khz=rates.max_khz, highest_perf=rates.highest_perf, l3_size=size)
