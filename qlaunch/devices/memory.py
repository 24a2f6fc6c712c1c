"""``[memory]``: the guest's RAM, and from which of the host's pages it is made.

Source: ``qapi/qom.json`` (MemoryBackendProperties), ``qemu-options.hx`` (-m, -overcommit),
``backends/hostmem-memfd.c``, ``util/oslib-posix.c`` (preallocation; without a number of threads, as many as there are
vCPUs). A memfd and never ``mem-path``: with a path that is not a mounted hugetlbfs QEMU makes a plain file there and
says nothing.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, device, keyval, qom_object
from qlaunch.devices.ports import fixed
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.cpus import CpuSet
from qlaunch.values.guest import GuestAddress
from qlaunch.values.size import Size

_PAGE_BYTES = {"2M": 2 << 20, "1G": 1 << 30}


Node = Annotated[int, msgspec.Meta(ge=0, le=1023)]
Policy = Literal["bind", "preferred", "interleave"]


class Cell(Section, frozen=True, kw_only=True):
    """A NUMA node of the guest: which vCPUs and how much of the memory are its own, and from which of the host's."""

    size: Size
    cpus: CpuSet = CpuSet()
    node: Node | None = None
    nodes: CpuSet | None = None
    policy: Policy = "bind"
    distances: list[Annotated[int, msgspec.Meta(ge=10, le=255)]] = []  # to each cell, in their order


class Memory(Section, frozen=True, kw_only=True):
    """RAM. ``thp`` is transparent huge pages, which the host makes on its own where memory is not shared.

    ``on_missing`` says what becomes of ``hugepages`` that cannot be had: no start, transparent ones, or the next
    smaller ones that there are (1G, 2M, transparent).
    """

    size: Size
    hugepages: Literal["2M", "1G", "thp"] | bool = False
    shared: bool | None = None
    on_missing: Literal["fail", "thp", "smaller"] = "fail"
    node: Node | None = None
    nodes: CpuSet | None = None  # several nodes of the host, instead of one
    policy: Policy = "bind"
    cell: list[Cell] = []
    prealloc: bool | None = None
    prealloc_threads: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    lock: bool = False
    balloon: bool = False
    balloon_reporting: bool = True  # the guest tells which pages are free
    balloon_deflate: bool = True  # it takes them back before it runs out
    balloon_address: GuestAddress | None = None
    mmio64: Size | None = None

    @property
    def page_bytes(self) -> int | None:
        """The size of the hugetlb pages wanted, or None."""
        return _PAGE_BYTES.get(str(self.hugepages))

    @property
    def instead(self) -> Literal["2M", "thp"] | None:
        """The pages that come next when those that are wanted cannot be had; None when nothing comes instead."""
        if self.on_missing == "fail" or self.page_bytes is None:
            return None
        return "2M" if self.on_missing == "smaller" and self.hugepages == "1G" else "thp"

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield -m and the memory backend."""
        del index
        # KiB, since a bare number would be MiB; the sum must equal the backend's to the byte.
        yield keyval("m", size=f"{self.size >> 10}k")
        for name, cpus in self._contexts(site).items():
            # Preallocation runs on the CPUs of the thread that asks for it, which is otherwise the main thread alone.
            affinity: dict[str, Value] = {"cpu-affinity": list(cpus)}
            yield qom_object("thread-context", name, **affinity)
        yield from self._backends(site)
        if self.lock:
            yield keyval("overcommit", **{"mem-lock": True})
        if self.mmio64:
            # OVMF's PlatformPei reads the size of the 64-bit window in MiB.
            yield keyval("fw_cfg", name="opt/ovmf/X-PciMmio64Mb", string=str(self.mmio64.mib))
        if self.balloon:
            place = site.on(fixed("balloon"), address=self.balloon_address)
            properties: dict[str, Value] = {
                "free-page-reporting": self.balloon_reporting or None,
                "deflate-on-oom": self.balloon_deflate or None,
            }
            yield device("virtio-balloon-pci", "balloon0", **properties, **place)

    def _preallocates(self) -> bool:
        return bool(self.page_bytes) if self.prealloc is None else self.prealloc

    def _contexts(self, site: Site) -> dict[str, tuple[int, ...]]:
        """Give the host CPUs that preallocate, by the name of their context: one for all, or one for each cell.

        From 9.0 QEMU fills backends that have contexts of their own at the same time; before, one after the other,
        and then all CPUs had better help with each.
        """
        if not site.prealloc_cpus or not self._preallocates():
            return {}
        if len(self.cell) > 1 and all(site.cell_cpus) and site.version >= (9, 0):
            return {f"tc-ram{number}": cpus for number, cpus in enumerate(site.cell_cpus)}
        return {"tc-ram": site.prealloc_cpus}

    def _backends(self, site: Site) -> Iterator[Arg]:
        if not self.cell:
            yield self._backend(site, "ram0", self.size, _nodes(self.node, self.nodes), self.policy)
            return
        for number, cell in enumerate(self.cell):
            nodes = _nodes(cell.node, cell.nodes) or _nodes(self.node, self.nodes)
            policy = cell.policy if _nodes(cell.node, cell.nodes) else self.policy
            yield self._backend(site, f"ram{number}", cell.size, nodes, policy)
            cpus = ",".join(f"cpus={run}" for run in str(cell.cpus).split(",") if run)
            # A key that is repeated: no value here can hold a comma of its own.
            yield Arg("numa", f"node,nodeid={number}{',' if cpus else ''}{cpus},memdev=ram{number}")
        for number, cell in enumerate(self.cell):
            for other, distance in enumerate(cell.distances[: len(self.cell)]):
                yield keyval("numa", "dist", src=number, dst=other, val=distance)

    def _backend(self, site: Site, name: str, size: Size, nodes: list[Value] | None, policy: str) -> Arg:
        shared = self.shared if self.shared is not None else "shared-memory" in site.needs
        prealloc = self._preallocates()
        contexts = self._contexts(site)
        context = f"tc-{name}" if f"tc-{name}" in contexts else "tc-ram" if contexts else None
        threads = self.prealloc_threads or (len(contexts[context]) if context else None)
        properties: dict[str, Value] = {
            "size": int(size),
            "share": shared,
            "hugetlb": True if self.page_bytes else None,
            "hugetlbsize": self.page_bytes,
            "prealloc": prealloc or None,
            "prealloc-threads": threads if prealloc else None,
            "prealloc-context": context,
            "host-nodes": nodes,
            "policy": policy if nodes else None,
            "merge": False,
            "dump": False,
        }
        qom_type = "memory-backend-memfd" if shared or self.page_bytes else "memory-backend-ram"
        return qom_object(qom_type, name, **properties)


def _nodes(node: int | None, nodes: CpuSet | None) -> list[Value] | None:
    return [node] if node is not None else list[Value](sorted(nodes)) if nodes else None
