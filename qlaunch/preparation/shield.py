"""Everything else off the guest's CPUs, by what this host has: systemd, groups of v2 or of v1, or nothing."""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.preparation.wish import Wish
from qlaunch.steps.cgroup import PEN
from qlaunch.steps.shield import SLICES
from qlaunch.steps.step import Step
from qlaunch.values.cpus import CpuSet

_PREFIX = "qlaunch-"


def steps(wish: Wish) -> Iterator[Step]:
    """Yield QEMU's own group first: a group that loses CPUs takes them from all that is in it."""
    if not wish.machine.host.shield or not wish.vcpu_cpus:
        return
    groups = wish.facts.cgroups
    # systemd gives no CPUs to its units where the hierarchy is not the unified one.
    if groups.systemd and groups.layout == "v2":
        yield from _by_systemd(wish)
    elif groups.unified and "cpuset" in groups.controllers:
        yield from _by_groups(wish, groups.unified, is_v2=True)
    elif "cpuset" in groups.v1:
        yield from _by_groups(wish, groups.v1["cpuset"], is_v2=False)


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield a shield that would leave the host no CPU, and a host that has none to offer."""
    if not wish.machine.host.shield or not wish.vcpu_cpus:
        return
    online = _online(wish)
    if online and not online - wish.vcpu_cpus:
        message = f"would leave the host none of its CPUs {online}"
        yield Problem(code="no-cpu-left", key="host.shield", message=message, hint="pin the guest to fewer CPUs")
    groups = wish.facts.cgroups
    if not (groups.systemd and groups.layout == "v2") and "cpuset" not in {*groups.controllers, *groups.v1}:
        message = "this host hands out no CPUs to groups of processes: its own tasks stay on the guest's CPUs"
        hint = "mount cgroup2, or boot with isolcpus= for these CPUs"
        yield Problem(code="no-cpuset", key="host.shield", message=message, hint=hint, severity="warning")


def _by_systemd(wish: Wish) -> Iterator[Step]:
    from qlaunch.steps.systemd import escaped  # noqa: PLC0415 - jeepney's place

    scope = f"{_PREFIX}{escaped(wish.name)}.scope of {{qemu}} on {wish.all_cpus}"
    # Beside what moves the kernel's own threads: slices of systemd hold none of them.
    yield _step("scope", "QEMU in a scope of its own", {scope: "active"}, lane="quiet/shield")
    yield _step("shield", _away(wish), dict.fromkeys(SLICES, _claim(wish)), lane="quiet/shield")


def _by_groups(wish: Wish, root: str, *, is_v2: bool) -> Iterator[Step]:
    tree = wish.facts.tree
    if is_v2:
        claims = {f"{root}/cgroup.subtree_control": "cpuset"}
        yield _step("cgroup-controller", "groups that may have CPUs of their own", claims)
    own = f"{root}/{_PREFIX}{wish.name} of {{qemu}} on {wish.all_cpus}"
    yield _step("cgroup", "QEMU in a group of its own", {own: "active"})
    yield _step("cgroup-shield", _away(wish), {root: _claim(wish)})
    # Those that somebody made already keep their tasks, and lose the CPUs.
    others = [name for name in tree.listdir(root) if tree.exists(f"{root}/{name}/cgroup.procs")]
    claims = {f"{root}/{name}": _claim(wish) for name in others if is_v2 and not name.startswith((_PREFIX, PEN))}
    if claims:
        yield _step("cgroup-cpus", f"groups of the host away from {wish.vcpu_cpus}", claims)


def _step(kind: str, summary: str, claims: dict[str, str], *, lane: str = "quiet") -> Step:
    return Step(kind=kind, summary=summary, claims=claims, lane=lane, moment="after-launch")


def _away(wish: Wish) -> str:
    return f"tasks of the host away from {wish.vcpu_cpus}"


def _claim(wish: Wish) -> str:
    return f"{wish.vcpu_cpus} of {_online(wish)}"


def _online(wish: Wish) -> CpuSet:
    return wish.facts.tree.cpus("/sys/devices/system/cpu/online") or CpuSet()
