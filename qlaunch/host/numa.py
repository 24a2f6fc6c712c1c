"""Memory: NUMA nodes, hugepage pools, what is free. All sizes are bytes.

Source: the kernel's ``Documentation/admin-guide/mm/hugetlbpage.rst``, ``Documentation/ABI/stable/sysfs-devices-node``
and ``proc_meminfo(5)``; kB there means 1,024 bytes.
"""

import msgspec

from qlaunch.host.tree import Tree, whole_number
from qlaunch.values.cpus import CpuSet

_NODES = "/sys/devices/system/node"
_AVAILABLE = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")


class HugepagePool(msgspec.Struct, frozen=True, kw_only=True):
    """The pages of one size, on one node or on the whole host."""

    page_size: int
    total: int
    free: int
    surplus: int = 0
    reserved: int | None = None
    """Promised to processes and not yet taken; known of the whole host alone."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One NUMA node."""

    node: int
    cpus: CpuSet = CpuSet()
    memory_total: int | None = None
    memory_free: int | None = None
    memory_available: int | None = None
    """What is free, with what is cached of files: an estimate, since the kernel tells it of the whole host alone."""
    distances: tuple[int, ...] = ()
    """To each node in order, 10 to itself."""
    hugepages: tuple[HugepagePool, ...] = ()


class MemoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of the host, and of each node where the kernel knows nodes."""

    total: int | None = None
    available: int | None = None
    nodes: tuple[Node, ...] = ()
    hugepages: tuple[HugepagePool, ...] = ()
    transparent_hugepages: str | None = None
    """``always``, ``madvise`` or ``never``."""
    zfs_cache: int | None = None
    """What the ARC of ZFS holds; it gives way too slowly for a machine that starts."""


def read_memory(tree: Tree) -> MemoryFacts:
    """Read nodes and pools."""
    host = _sizes(tree, "/proc/meminfo")
    numbers = sorted(tree.cpus(f"{_NODES}/online") or ())
    return MemoryFacts(
        total=host.get("MemTotal"),
        available=host.get("MemAvailable"),
        nodes=tuple(_node(tree, number) for number in numbers),
        hugepages=_pools(tree, "/sys/kernel/mm/hugepages"),
        transparent_hugepages=_chosen(tree.read("/sys/kernel/mm/transparent_hugepage/enabled")),
        zfs_cache=_arc(tree),
    )


def _node(tree: Tree, number: int) -> Node:
    folder = f"{_NODES}/node{number}"
    memory = _sizes(tree, f"{folder}/meminfo")
    distances = [whole_number(word) for word in (tree.read(f"{folder}/distance") or "").split()]
    return Node(
        node=number,
        cpus=tree.cpus(f"{folder}/cpulist") or CpuSet(),
        memory_total=memory.get("MemTotal"),
        memory_free=memory.get("MemFree"),
        memory_available=sum(memory.get(name, 0) for name in _AVAILABLE) if "MemFree" in memory else None,
        distances=tuple(distance for distance in distances if distance is not None),
        hugepages=_pools(tree, f"{folder}/hugepages"),
    )


def _sizes(tree: Tree, path: str) -> dict[str, int]:
    """Read ``MemTotal:  16384 kB``; the files of nodes have ``Node 0`` before each line."""
    sizes: dict[str, int] = {}
    for line in tree.lines(path):
        name, _, rest = line.partition(":")
        amount = whole_number((rest.split() or [""])[0])
        if amount is not None and rest.rstrip().endswith("kB") and name.split():
            sizes[name.split()[-1]] = amount << 10
    return sizes


def _pools(tree: Tree, folder: str) -> tuple[HugepagePool, ...]:
    pools: list[HugepagePool] = []
    for name in tree.listdir(folder):
        kib = whole_number(name.removeprefix("hugepages-").removesuffix("kB"))
        total = tree.number(f"{folder}/{name}/nr_hugepages")
        if not kib or total is None:
            continue
        pools.append(
            HugepagePool(
                page_size=kib << 10,
                total=total,
                free=tree.number(f"{folder}/{name}/free_hugepages") or 0,
                surplus=tree.number(f"{folder}/{name}/surplus_hugepages") or 0,
                reserved=None if "/node" in folder else tree.number(f"{folder}/{name}/resv_hugepages"),
            )
        )
    return tuple(sorted(pools, key=lambda pool: pool.page_size))


def _chosen(text: str | None) -> str | None:
    """Read ``always [madvise] never``."""
    return next((word.strip("[]") for word in (text or "").split() if word.startswith("[")), None)


def _arc(tree: Tree) -> int | None:
    """Read the line ``size 4 1234`` of the ARC's statistics (``man zfs-kstat``)."""
    for line in tree.lines("/proc/spl/kstat/zfs/arcstats"):
        words = line.split()
        if len(words) == 3 and words[0] == "size":
            return whole_number(words[2])
    return None
