"""Free memory, how broken up it is, and the cache of ZFS, which gives way too slowly.

Source: ``proc_buddyinfo(5)``: column n counts free blocks of 2^n pages of 4 KiB, of which order 9 is a hugepage.
"""

from collections.abc import Iterator

from qlaunch.check.question import Question
from qlaunch.check.result import Check, failed, passed, unknown
from qlaunch.host.bootloader import hugepages_at_boot
from qlaunch.host.tree import Tree, whole_number

TITLE = "Memory"
_ORDER = 9
_GIB = 1 << 30


def checks(question: Question) -> Iterator[Check]:
    """Yield the checks; what a machine wants of the host's memory for good is in the audit."""
    if question.machine is None:
        return
    memory, facts = question.machine.memory, question.facts.memory
    size, page = int(memory.size), memory.page_bytes
    ready = sum(pool.free * pool.page_size for pool in facts.hugepages if pool.page_size == page) if page else 0
    wanted = max(size - ready, 0)
    if facts.available is None:
        yield unknown("memory-free", "/proc/meminfo does not tell how much memory is available")
        return
    arc = facts.zfs_cache or 0
    if wanted <= facts.available:
        yield passed("memory-free", f"{facts.available >> 20} MiB are available, {wanted >> 20} are wanted")
    else:
        message = f"{facts.available >> 20} MiB are available, and {wanted >> 20} are wanted"
        yield failed("memory-free", message, "end what uses memory, or make memory.size smaller", "warning")
        if arc > _GIB:
            limit = max(arc - (wanted - facts.available), _GIB)
            hint = f"run: echo {limit} > /sys/module/zfs/parameters/zfs_arc_max"
            yield failed("zfs-arc", f"the cache of ZFS (ARC) holds {arc >> 20} MiB", hint, "warning")
    if page and wanted and wanted <= facts.available and any(pool.page_size == page for pool in facts.hugepages):
        at_boot = hugepages_at_boot(
            question.facts.tree, f"{memory.hugepages}:{-(-size // page)}", memory.node, question.facts.kernel.version
        )
        yield _fragmentation(question.facts.tree, wanted, page, at_boot)


def _fragmentation(tree: Tree, wanted: int, page: int, at_boot: str) -> Check:
    if page >= _GIB:
        # Nor does the kernel say anywhere how many such pieces there are.
        message = "whether a GiB of memory is free in one piece is not to be seen; long after boot it hardly ever is"
        return unknown("memory-fragmented", message, at_boot)
    lines = tree.lines("/proc/buddyinfo")
    if not lines:
        return unknown("memory-fragmented", "/proc/buddyinfo cannot be read: how broken up the memory is, is not known")
    whole = 0
    for line in lines:
        counts = [whole_number(word) or 0 for word in line.partition("zone")[2].split()[1:]]
        whole += sum(count << (order + 12) for order, count in enumerate(counts) if order >= _ORDER)
    if whole >= wanted:
        return passed("memory-fragmented", f"{whole >> 20} MiB are free in blocks of 2 MiB and more")
    message = f"only {whole >> 20} MiB are free in blocks of 2 MiB and more, and {wanted >> 20} are wanted"
    return failed("memory-fragmented", message, at_boot, "info")
