"""Huge pages that a machine lacks."""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.host.numa import HugepagePool
from qlaunch.preparation.wish import Wish
from qlaunch.steps.step import Step

_NAMES = {2 << 20: "2M", 1 << 30: "1G"}


def steps(wish: Wish) -> Iterator[Step]:
    """Yield the growth of the pools by what is missing."""
    page = wish.machine.memory.page_bytes
    if page is None:
        return
    missing = {
        node: _missing(wish, page, node, size) for node, size in _shares(wish).items() if _pool(wish, page, node)
    }
    wanting = {node: pages for node, pages in missing.items() if pages > 0}
    if wanting:
        claims = {
            f"{_folder(node)}/hugepages-{page >> 10}kB/nr_hugepages": str(pages) for node, pages in wanting.items()
        }
        words = [
            f"{pages} more pages of {_NAMES[page]}{'' if node is None else f' on node {node}'}"
            for node, pages in wanting.items()
        ]
        instead = {None: "", "thp": ", or transparent ones"}.get(wish.machine.memory.instead, ", or smaller ones")
        summary = f"{', '.join(words)}{instead}"
        yield Step(kind="hugepages", summary=summary, claims=claims, lane="memory")


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield that there is no such pool, or not so much memory."""
    page = wish.machine.memory.page_bytes
    if page is None:
        return
    for node, size in _shares(wish).items():
        where = f"node {node}" if node is not None else "this host"
        if _pool(wish, page, node) is None:
            message = f"{where} has no pages of {_NAMES[page]}"
            yield Problem(code="no-hugepages", key="memory.hugepages", message=message, hint="write hugepages = false")
            continue
        free = _free_bytes(wish, node)
        missing = _missing(wish, page, node, size) * page
        if free is not None and missing > free:
            message = f"{missing >> 20} MiB of huge pages are missing, and {where} has {free >> 20} MiB free"
            yield Problem(code="no-memory", key="memory.size", message=message, hint="free memory, or give it less")


def _shares(wish: Wish) -> dict[int | None, int]:
    """Give how many bytes are wanted of each node; None is the host as a whole, also where several nodes will do."""
    memory = wish.machine.memory
    shares: dict[int | None, int] = {}
    for part in memory.cell or (memory,):
        place = part if part.node is not None or part.nodes else memory
        shares[place.node] = shares.get(place.node, 0) + int(part.size)
    return shares


def _folder(node: int | None) -> str:
    return "/sys/kernel/mm/hugepages" if node is None else f"/sys/devices/system/node/node{node}/hugepages"


def _pool(wish: Wish, page: int, node: int | None) -> HugepagePool | None:
    memory = wish.facts.memory
    pools = memory.hugepages
    if node is not None:
        pools = next((one.hugepages for one in memory.nodes if one.node == node), ())
    return next((pool for pool in pools if pool.page_size == page), None)


def _missing(wish: Wish, page: int, node: int | None, size: int) -> int:
    pool = _pool(wish, page, node)
    needed = -(-size // page)
    return needed - max(0, pool.free - (pool.reserved or 0)) if pool else needed


def _free_bytes(wish: Wish, node: int | None) -> int | None:
    if node is None:
        return wish.facts.memory.available
    return next((one.memory_available for one in wish.facts.memory.nodes if one.node == node), None)
