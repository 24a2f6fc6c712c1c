"""Whether the guest's memory can be had, and the host keeps enough.

All sizes are bytes. The host needs its pages too: what a guest's locked memory squeezes out comes back as swapping.
"""

from collections.abc import Iterator

from qlaunch.audit.scene import Scene, finding
from qlaunch.errors import Problem
from qlaunch.host.bootloader import hugepages_at_boot
from qlaunch.host.numa import HugepagePool
from qlaunch.values.size import Size

# What a desktop needs to stay alive beside a guest; small hosts are servers or tests, and get by with an eighth.
_HOST_NEEDS = 2 << 30
_GIB = 1 << 30
# Less than this runs hardly anything.
_SMALLEST = 64 << 20


def findings(scene: Scene) -> Iterator[Problem]:
    """Yield findings."""
    yield from _left_to_host(scene)
    yield from _hugepages(scene)


def _left_to_host(scene: Scene) -> Iterator[Problem]:
    total, size = scene.facts.memory.total, int(scene.machine.memory.size)
    if total is None:
        return
    least = min(_HOST_NEEDS, total // 8)
    if total - size < least:
        fits = max((total - least) // _GIB, 0)
        better = f"{fits}G" if fits else f"{max(total - least, 0) >> 20}M"
        message = f"a guest of {Size(size)} leaves this host of {total >> 20} MiB less than {least >> 20} MiB"
        hint = f'write size = "{better}"' if total - least > _SMALLEST else "this host is too small for a guest"
        yield finding("memory-host-left", "memory.size", message, hint)


def _hugepages(scene: Scene) -> Iterator[Problem]:
    memory = scene.machine.memory
    page = memory.page_bytes
    if page is None:
        return
    facts = scene.facts.memory
    node = next((one for one in facts.nodes if one.node == memory.node), None)
    if memory.node is not None and facts.nodes and node is None:
        return  # told by numa.py
    where = f" on node {node.node}" if node else ""
    pools = node.hugepages if node else facts.hugepages
    pool = next((one for one in pools if one.page_size == page), None)
    if pool is None:
        sizes = ", ".join(str(Size(one.page_size)) for one in pools)
        if pools:
            message = f"this host has no hugepages of {Size(page)}{where}, only of {sizes}"
            hint = f'write hugepages = "{Size(pools[0].page_size)}"'
            yield finding("hugepages-size", "memory.hugepages", message, hint)
        return
    spare = node.memory_available if node else facts.available
    if spare is not None:
        yield from _enough(scene, pool, spare, where)


def _enough(scene: Scene, pool: HugepagePool, spare: int, where: str) -> Iterator[Problem]:
    size, page = int(scene.machine.memory.size), pool.page_size
    wanted, can_have = size // page, pool.free + spare // page
    if wanted > can_have:
        message = (
            f"{wanted} hugepages of {Size(page)} are wanted{where}: {pool.free} are free, "
            f"and the free memory makes {spare // page} more at best"
        )
        fits = can_have * page // _GIB
        line = f'write size = "{fits}G"' if fits else "free memory"
        kernel, tree = scene.facts.kernel, scene.facts.tree
        at_boot = hugepages_at_boot(tree, f"{Size(page)}:{wanted}", scene.machine.memory.node, kernel.version)
        yield finding("hugepages-short", "memory.hugepages", message, f"{line}, or {at_boot}")
