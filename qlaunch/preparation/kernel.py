"""The kernel's own work off the guest's CPUs: workers, the watchdog, threads, statistics; and an isolated partition.

The partition comes last and goes first: it gives every thread of the kernel the CPUs that are left.
"""

import re
from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.host.kernel_threads import movable_threads
from qlaunch.preparation.wish import Wish
from qlaunch.steps.partition import ISOLATED
from qlaunch.steps.step import Step

_WORKERS = ("/sys/devices/virtual/workqueue/cpumask", "/sys/devices/virtual/workqueue/writeback/cpumask")
_WATCHDOG = "/proc/sys/kernel/watchdog_cpumask"
# The kernel adds up each CPU's counters at this interval, on that CPU; it is 1 s otherwise.
_STATISTICS, _STATISTICS_S = "/proc/sys/vm/stat_interval", "120"
_WITH_EXCLUSIVE = (6, 7)  # the kernel that brought cpuset.cpus.exclusive


def steps(wish: Wish) -> Iterator[Step]:
    """Yield what belongs to a shield, once QEMU's process is there."""
    side, cpus = wish.machine.host, wish.vcpu_cpus
    if not side.shield or not cpus:
        return
    tree = wish.facts.tree
    masks = [path for path in (*_WORKERS, _WATCHDOG) if tree.exists(path)]
    if masks:
        yield _step("cpumask", f"workers of the kernel away from {cpus}", dict.fromkeys(masks, str(cpus)))
    threads = [f"{number} {name}" for number, name in movable_threads(tree).items()]
    if threads:
        claim = f"{cpus} of {tree.cpus('/sys/devices/system/cpu/online')}"
        yield _step("kthread", f"threads of the kernel away from {cpus}", dict.fromkeys(threads, claim))
    own = "vm.stat_interval" in side.sysctl or _STATISTICS in side.sysfs  # the file's own value is a step of its own
    if tree.exists(_STATISTICS) and not own:
        yield _step("sysfs", f"the kernel's statistics every {_STATISTICS_S} s", {_STATISTICS: _STATISTICS_S})
    group = _group(wish)
    if side.shield == "isolated" and group:
        key = f"{group}/vcpus of {{qemu}} with {wish.machine.cpu.shape().vcpus} on {cpus}"
        yield _step("partition", f"CPUs {cpus} isolated from the scheduler", {key: ISOLATED}, lane="quiet")


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield what an isolated partition lacks."""
    if wish.machine.host.shield != "isolated" or not wish.vcpu_cpus:
        return
    key, hint = "host.shield", "write shield = true"
    if wish.machine.cpu.pin_shared:
        message = "isolated CPUs belong to one machine, and cpu.pin_shared lets others have them"
        yield Problem(code="isolated-shared", key=key, message=message, hint=hint)
    if not _group(wish):
        message = "an isolated partition needs cgroup v2, which this host does not use for CPUs"
        yield Problem(code="no-partition", key=key, message=message, hint=hint)
        return
    release = wish.facts.tree.read("/proc/sys/kernel/osrelease") or ""
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found[1]), int(found[2])) < _WITH_EXCLUSIVE:
        message = f"an isolated partition for vCPUs needs Linux 6.7, and this is {release}"
        yield Problem(code="no-partition", key=key, message=message, hint=hint)


def _group(wish: Wish) -> str | None:
    """Give QEMU's own group of the unified hierarchy, as the shield makes it."""
    from qlaunch.steps.systemd import escaped  # noqa: PLC0415 - jeepney's place

    groups = wish.facts.cgroups
    if groups.systemd and groups.layout == "v2":
        return f"{groups.unified}/qlaunch-{escaped(wish.name)}.scope"
    if groups.unified and "cpuset" in groups.controllers:
        return f"{groups.unified}/qlaunch-{wish.name}"
    return None


def _step(kind: str, summary: str, claims: dict[str, str], *, lane: str = "quiet/kernel") -> Step:
    return Step(kind=kind, summary=summary, claims=claims, lane=lane, moment="after-launch")
