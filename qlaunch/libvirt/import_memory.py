"""Memory: how much, from which pages and nodes of the host, and the guest's own NUMA cells.

Source: libvirt's ``docs/formatdomain.rst``, "Memory Allocation", "Memory Backing", "NUMA Node Tuning", "Guest NUMA
topology", "Memory balloon device", "Memory devices".
"""

from qlaunch.libvirt.import_draft import Draft, in_bytes, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places
from qlaunch.libvirt.import_tuning import cpu_set
from qlaunch.values.cpus import CpuSet

_PAGES = {2 << 20: "2M", 1 << 30: "1G"}
_POLICIES = {"strict": "bind", "restrictive": "bind", "preferred": "preferred", "interleave": "interleave"}
_MIB = 1 << 20


def memory(draft: Draft, places: Places) -> None:
    """Read everything about memory but the balloon's place."""
    root = draft.root
    node = root.one("memory")
    cells = _cells(draft)
    size = draft.size(node, node.word() if node else None)
    size = sum(cells) if cells and all(cells) else size
    if not size:
        draft.asks(node or root, "says no size of memory; 4G is written", ("memory", "size"))
        size = 4 << 30
    if size % _MIB:
        draft.differs(node or root, "is rounded up to whole MiB", ("memory", "size"))
        size += _MIB - size % _MIB
    draft.set(node or root, "memory", "size", in_bytes(size))
    if node is not None and (dump := draft.flag(node, "dumpCore")) is not None:
        draft.idle(node, "the guest's memory is never in a core dump", "dumpCore") if not dump else draft.lost(
            node, "the guest's memory is never in a core dump", "dumpCore"
        )
    _current(draft, size)
    _backing(draft)
    _tuning(draft)
    limit = root.one("maxMemory")
    draft.lost(limit, "memory is not hot-plugged: what is there from the start is all")
    for device in places.devices.each("memory"):
        draft.lost(device, "memory modules have no key here; add their size to memory.size")
    for tag, reason in (("memtune", "limits on the host's side of the memory"), ("blkiotune", "weights of disks")):
        draft.lost(root.one(tag), f"{reason} have no key here")


def _current(draft: Draft, size: int) -> None:
    node = draft.root.one("currentMemory")
    current = draft.size(node, node.word() if node else None)
    if node is not None and current is not None and current < size:
        message = f"the guest starts with all of its memory; libvirt's balloon took it down to {in_bytes(current)}"
        draft.differs(node, message, ("memory", "size"))


def _backing(draft: Draft) -> None:
    node = draft.root.one("memoryBacking")
    if node is None:
        return
    huge = node.one("hugepages")
    if huge is not None:
        _hugepages(draft, huge)
    node.one("nosharepages")  # qlaunch never has the host merge a guest's pages
    locked = node.one("locked")
    draft.set(locked or node, "memory", "lock", True if locked is not None else None)
    access = draft.choice(node.one("access"), "mode", {"shared": True, "private": False})
    draft.set(node, "memory", "shared", access)
    source = node.one("source")
    kind = draft.choice(source, "type", {"file": "file", "anonymous": "anonymous", "memfd": "memfd"})
    if source is not None and kind == "file" and huge is None:
        draft.differs(source, "memory without a file (memfd) stands for one in a file", ("memory",))
    allocation = node.one("allocation")
    mode = draft.choice(allocation, "mode", {"immediate": True, "ondemand": False})
    if mode is not None and not (mode is False and huge is not None):
        draft.set(allocation or node, "memory", "prealloc", mode)
    threads = draft.number(allocation, "threads", 1, 256)
    draft.set(allocation or node, "memory", "prealloc_threads", threads)
    draft.idle(node.one("discard"), "memory is given back at the end either way")


def _hugepages(draft: Draft, node: Node) -> None:
    sizes: list[str | None] = []
    for page in node.each("page"):
        size = draft.size(page, page.get("size"))
        draft.idle(page, "the size holds for all cells", "nodeset")
        if size in _PAGES:
            sizes.append(_PAGES[size])
        elif size == 4096:
            sizes.append(None)
        elif size is not None:
            draft.asks(page, f"x86 has no pages of {in_bytes(size)}; 2M is written", ("memory", "hugepages"))
            sizes.append("2M")
    if len(set(sizes)) > 1:
        draft.differs(node, f"one size of pages holds for all cells: {sizes[0] or '4K'}", ("memory", "hugepages"))
    chosen = sizes[0] if sizes else "2M"
    draft.set(node, "memory", "hugepages", chosen)
    if not sizes:
        draft.comment(
            ("memory", "hugepages"), "libvirt takes the host's default size, which is 2M unless it was changed"
        )


def _tuning(draft: Draft) -> None:
    tune = draft.root.one("numatune")
    if tune is None:
        return
    whole = tune.one("memory")
    if whole is not None:
        placement = draft.choice(whole, "placement", {"static": "static", "auto": "auto"})
        nodes = cpu_set(draft, whole, "nodeset")
        policy = draft.choice(whole, "mode", _POLICIES)
        if placement == "auto":
            draft.asks(whole, "libvirt asks numad for a node; write node = 0, or leave it", ("memory", "node"))
        elif nodes:
            _write_nodes(draft, whole, "memory", nodes, policy)
    rows = draft.tables.get("memory", {}).get("cell", [])
    for one in tune.each("memnode"):
        number = draft.number(one, "cellid", 0, 1023)
        nodes, policy = cpu_set(draft, one, "nodeset"), draft.choice(one, "mode", _POLICIES)
        if number is None or number >= len(rows):
            draft.asks(one, f"there is no cell {number}", ("memory", "cell"))
        elif nodes:
            rows[number] |= _nodes(nodes, policy)


def _write_nodes(draft: Draft, node: Node, section: str, nodes: CpuSet, policy: str | None) -> None:
    for key, value in _nodes(nodes, policy).items():
        draft.set(node, section, key, value)


def _nodes(nodes: CpuSet, policy: str | None) -> dict[str, object]:
    place: dict[str, object] = {"node": min(nodes)} if len(nodes) == 1 else {"nodes": str(nodes)}
    return place | ({"policy": policy} if policy not in (None, "bind") else {})


def _cells(draft: Draft) -> list[int]:
    """Read the guest's NUMA cells; give their sizes."""
    cpu = draft.root.one("cpu")
    numa = cpu.one("numa") if cpu else None
    if numa is None:
        return []
    rows: dict[int, dict[str, object]] = {}
    sizes: dict[int, int] = {}
    found = numa.each("cell")
    for position, cell in enumerate(found):
        number = draft.number(cell, "id", 0, 1023)
        number = position if number is None else number
        size = draft.size(cell, cell.get("memory"))
        cpus = cpu_set(draft, cell, "cpus")
        if size and size % _MIB:
            draft.differs(cell, "is rounded up to whole MiB", ("memory", "cell"))
            size += _MIB - size % _MIB
        rows[number] = {"size": in_bytes(size or 0), **({"cpus": str(cpus)} if cpus else {})}
        sizes[number] = size or 0
        shared = draft.choice(cell, "memAccess", {"shared": True, "private": False})
        draft.set(cell, "memory", "shared", shared)
        draft.lost(cell, "has no key here", "discard")
        distances = _distances(draft, cell, len(found))
        if distances:
            rows[number]["distances"] = distances
        for cache in cell.each("cache"):
            draft.lost(cache, "caches of memory (HMAT) have no key here")
    draft.lost(numa.one("interconnects"), "speeds of memory (HMAT) have no key here")
    if any(not size for size in sizes.values()):
        draft.asks(numa, "a cell says no size of its memory; one cell is written instead", ("memory", "cell"))
        return []
    draft.set(numa, "memory", "cell", [rows[number] for number in sorted(rows)])
    return [sizes[number] for number in sorted(sizes)]


def _distances(draft: Draft, cell: Node, count: int) -> list[int]:
    block = cell.one("distances")
    if block is None:
        return []
    own = draft.number(cell, "id") or 0
    found = {own: 10}
    for sibling in block.each("sibling"):
        number, value = draft.number(sibling, "id", 0, 1023), draft.number(sibling, "value", 10, 255)
        if number is not None and value is not None:
            found[number] = value
    if set(found) - set(range(count)):
        draft.asks(block, f"names a cell that is not there: {shown(str(max(found)))}", ("memory", "cell"))
        return []
    return [found.get(number, 20) for number in range(count)]
