"""Which kind of core each CPU belongs to: P, E, LP-E, or X3D (the cores of a package below extra cache).

Where all cores are alike they are P. Decided by the kernel's own lists of hybrid CPUs, else by a cliff in frequency or
CPPC figures: preferred cores of one kind differ by a few percent from one to the next, kinds by far more.

Source: ``/sys/devices/cpu_core/cpus``, ``cpu_atom`` and ``cpu_lowpower`` (``arch/x86/events/intel/core.c``). Before the
last one existed (6.13) the LP-E cores of Meteor Lake were among ``cpu_atom``: they have no L3, and are slower.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from qlaunch.host.tree import Tree

CoreClass = Literal["X3D", "P", "E", "LP-E"]
# From the best for a guest to the least.
CORE_CLASSES: tuple[CoreClass, ...] = get_args(CoreClass)

# From one kind to the next: Alder Lake 0.80, Zen 5 and 5c 0.65. Within a kind: the two CCDs of one X3D 0.91.
_CLIFF = 0.85
_LOW_POWER = 0.8
# Extra cache makes 96 MiB of 32; a floor keeps small parts that differ otherwise out.
_X3D_BYTES = 64 << 20
_X3D_RATIO = 2


class Strength(msgspec.Struct, frozen=True, kw_only=True):
    """What tells one kind of core from another. Sizes are bytes."""

    cpu: int
    max_khz: int | None = None
    highest_perf: int | None = None
    l3_size: int | None = None


def classify(tree: Tree, cpus: Sequence[Strength]) -> dict[int, CoreClass]:
    """Give the class of each CPU."""
    kinds = _by_lists(tree, cpus) or _by_cliff(cpus)
    sizes = {cpu.l3_size for cpu in cpus if cpu.l3_size is not None and kinds[cpu.cpu] == "P"}
    for cpu in cpus:
        size = cpu.l3_size or 0
        if kinds[cpu.cpu] == "P" and size >= _X3D_BYTES and size >= _X3D_RATIO * min(sizes, default=size):
            kinds[cpu.cpu] = "X3D"
    return kinds


def _by_lists(tree: Tree, cpus: Sequence[Strength]) -> dict[int, CoreClass]:
    """Ask the kernel's lists, which only hybrid hosts have."""
    core = tree.cpus("/sys/devices/cpu_core/cpus")
    atom = tree.cpus("/sys/devices/cpu_atom/cpus")
    if not core or not atom:
        return {}
    low = tree.cpus("/sys/devices/cpu_lowpower/cpus") or frozenset[int]()
    small = [cpu for cpu in cpus if cpu.cpu in atom and cpu.cpu not in low]
    cached = any(cpu.l3_size is not None for cpu in cpus)
    fastest = max((cpu.max_khz or 0 for cpu in small), default=0)
    kinds: dict[int, CoreClass] = dict.fromkeys((cpu.cpu for cpu in cpus), "P")
    kinds.update(dict.fromkeys((cpu.cpu for cpu in cpus if cpu.cpu in low), "LP-E"))
    for cpu in small:
        slow = cpu.max_khz is not None and cpu.max_khz < _LOW_POWER * fastest
        kinds[cpu.cpu] = "LP-E" if slow or (cached and cpu.l3_size is None) else "E"
    return kinds


def _by_cliff(cpus: Sequence[Strength]) -> dict[int, CoreClass]:
    """Compare neighbours in the order of speed; every cliff begins the next smaller kind."""
    speeds = {cpu.cpu: cpu.max_khz for cpu in cpus}
    if not all(speeds.values()):
        speeds = {cpu.cpu: cpu.highest_perf for cpu in cpus}
    if not all(speeds.values()):
        return dict.fromkeys(speeds, "P")
    order: tuple[CoreClass, ...] = ("P", "E", "LP-E")
    kinds: dict[int, CoreClass] = {}
    rank, above = 0, 0
    for cpu, speed in sorted(((cpu, speed or 0) for cpu, speed in speeds.items()), key=lambda pair: -pair[1]):
        if above and speed < _CLIFF * above:
            rank = min(rank + 1, len(order) - 1)
        kinds[cpu], above = order[rank], speed
    return kinds
