"""How fast the guest's CPUs run, and whose interrupts they handle."""

from collections.abc import Iterator

from qlaunch.errors import Problem
from qlaunch.preparation.wish import Wish
from qlaunch.steps.step import Step

_POLICIES = "/sys/devices/system/cpu/cpufreq"


def steps(wish: Wish) -> Iterator[Step]:
    """Yield governors before the launch, for memory is preallocated by the same CPUs, and the rest after it."""
    side = wish.machine.host
    for name, file, value in (
        ("governor", "scaling_governor", side.governor),
        ("energy preference", "energy_performance_preference", side.energy_preference),
    ):
        files = _policy_files(wish, file) if value else []
        if value and files:
            cpus = wish.all_cpus or "all CPUs"
            claims = dict.fromkeys(files, value)
            yield Step(kind="governor", summary=f"{name} {value} on {cpus}", claims=claims, lane="cpu")
    if side.irq and wish.vcpu_cpus:
        cpus = str(wish.vcpu_cpus)
        yield Step(
            kind="irq",
            summary=f"interrupts away from {cpus}",
            claims=dict.fromkeys(_interrupts(wish), cpus),
            lane="quiet/kernel",
            moment="after-launch",
        )


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield what cannot be had of a governor, and what needs pins."""
    side = wish.machine.host
    for key, file, value in (
        ("governor", "scaling_governor", side.governor),
        ("energy_preference", "energy_performance_preference", side.energy_preference),
    ):
        if value and not _policy_files(wish, file):
            message = f"this host has no {file}: its CPUs cannot be told how fast to run"
            yield Problem(code="no-cpufreq", key=f"host.{key}", message=message, hint="take it out")
    for key in ("irq", "shield"):
        if getattr(side, key) and not wish.vcpu_cpus:
            message = "needs to know the guest's CPUs, and none are pinned"
            yield Problem(code="needs-pins", key=f"host.{key}", message=message, hint='write cpu.pin = "auto"')


def _policy_files(wish: Wish, file: str) -> list[str]:
    """Give a file of each policy that rules one of the machine's CPUs; of all policies where nothing is pinned."""
    tree, wanted = wish.facts.tree, wish.all_cpus
    found = []
    for name in tree.listdir(_POLICIES):
        cpus = tree.read(f"{_POLICIES}/{name}/affected_cpus") or ""
        ruled = {int(cpu) for cpu in cpus.split() if cpu.isdigit()}
        if name.startswith("policy") and (not wanted or ruled & wanted) and tree.exists(f"{_POLICIES}/{name}/{file}"):
            found.append(f"{_POLICIES}/{name}/{file}")
    return found


def _interrupts(wish: Wish) -> list[str]:
    """Give the affinity file of each interrupt that somebody handles, and of those to come."""
    tree = wish.facts.tree
    numbers = [name for name in tree.listdir("/proc/irq") if name.isdigit()]
    # Those of guests' devices are kept on the guests' CPUs while these run, and go with them.
    own = [
        number for number in numbers if any(name.startswith("vfio-msi") for name in tree.listdir(f"/proc/irq/{number}"))
    ]
    handled = [f"/proc/irq/{number}/smp_affinity_list" for number in sorted({*numbers} - {*own}, key=int)]
    return ["/proc/irq/default_smp_affinity", *(path for path in handled if tree.exists(path))]
