"""``[memory]``: the guest's RAM, and from which of the host's pages it is made.

Source: ``qapi/qom.json`` (MemoryBackendProperties), ``qemu-options.hx`` (-m, -overcommit),
``backends/hostmem-memfd.c``. A memfd and never ``mem-path``: with a path that is not a mounted hugetlbfs QEMU makes a
plain file there and says nothing.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, device, keyval, qom_object
from qlaunch.devices.ports import fixed
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.size import Size

_PAGE_BYTES = {"2M": 2 << 20, "1G": 1 << 30}


class Memory(Section, frozen=True, kw_only=True):
    """RAM. ``thp`` is transparent huge pages, which the host makes on its own where memory is not shared."""

    size: Size
    hugepages: Literal["2M", "1G", "thp"] | bool = False
    shared: bool | None = None
    node: Annotated[int, msgspec.Meta(ge=0, le=1023)] | None = None
    prealloc: bool | None = None
    prealloc_threads: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    lock: bool = False
    balloon: bool = False
    mmio64: Size | None = None

    @property
    def page_bytes(self) -> int | None:
        """The size of the hugetlb pages wanted, or None."""
        return _PAGE_BYTES.get(str(self.hugepages))

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield -m and the memory backend."""
        del index
        # KiB, since a bare number would be MiB; the sum must equal the backend's to the byte.
        yield keyval("m", size=f"{self.size >> 10}k")
        if site.prealloc_cpus and self._preallocates():
            # Preallocation runs on the CPUs of the thread that asks for it, which is otherwise the main thread alone.
            affinity: dict[str, Value] = {"cpu-affinity": list(site.prealloc_cpus)}
            yield qom_object("thread-context", "tc-ram", **affinity)
        yield self._backend(site)
        if self.lock:
            yield keyval("overcommit", **{"mem-lock": True})
        if self.mmio64:
            # OVMF's PlatformPei reads the size of the 64-bit window in MiB.
            yield keyval("fw_cfg", name="opt/ovmf/X-PciMmio64Mb", string=str(self.mmio64.mib))
        if self.balloon:
            properties: dict[str, Value] = {"free-page-reporting": True, "deflate-on-oom": True}
            yield device("virtio-balloon-pci", "balloon0", **properties, **site.on(fixed("balloon")))

    def _preallocates(self) -> bool:
        return bool(self.page_bytes) if self.prealloc is None else self.prealloc

    def _backend(self, site: Site) -> Arg:
        shared = self.shared if self.shared is not None else "shared-memory" in site.needs
        prealloc = self._preallocates()
        properties: dict[str, Value] = {
            "size": int(self.size),
            "share": shared,
            "hugetlb": True if self.page_bytes else None,
            "hugetlbsize": self.page_bytes,
            "prealloc": prealloc or None,
            "prealloc-threads": self.prealloc_threads if prealloc else None,
            "prealloc-context": "tc-ram" if prealloc and site.prealloc_cpus else None,
            "host-nodes": None if self.node is None else [self.node],
            "policy": None if self.node is None else "bind",
            "merge": False,
            "dump": False,
        }
        qom_type = "memory-backend-memfd" if shared or self.page_bytes else "memory-backend-ram"
        return qom_object(qom_type, "ram0", **properties)
