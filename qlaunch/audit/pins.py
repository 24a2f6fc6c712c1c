"""Where the vCPUs run: whole cores, online, of one kind, in as few caches and nodes as hold them.

Owns: the host CPUs of vCPUs. What else runs there is `roles.py`.
"""

from collections.abc import Iterable, Iterator

from qlaunch.audit.scene import Scene, finding
from qlaunch.errors import Problem
from qlaunch.host.core_class import CORE_CLASSES
from qlaunch.host.cpus import Cpu
from qlaunch.values.cpus import CpuSet


def findings(scene: Scene) -> Iterator[Problem]:
    """Yield what is wrong with the pins; nothing without pins, or where the host does not tell its CPUs."""
    if not scene.pins or not scene.cpus:
        return
    yield from _offline(scene)
    yield from _leased(scene)
    yield from _siblings(scene)
    yield from _shared_cores(scene)
    yield from _isolated(scene)
    yield from _spread(scene)
    yield from _kinds(scene)


def _offline(scene: Scene) -> Iterator[Problem]:
    missing = CpuSet(cpu for cpu in scene.pins if cpu not in scene.cpus)
    if missing:
        online = scene.facts.cpus.online
        message = f"CPU {missing} is pinned to, but this host has {online} online"
        yield finding("pin-offline", "cpu.pin", message, scene.better_pins(), "error")


def _leased(scene: Scene) -> Iterator[Problem]:
    leased = CpuSet(scene.taken & set(scene.pins))
    if leased:
        message = f"CPU {leased} is pinned to by another machine that runs now"
        yield finding("pin-leased", "cpu.pin", message, scene.better_pins())


def _siblings(scene: Scene) -> Iterator[Problem]:
    threads = scene.machine.cpu.shape().threads
    if threads == 1:
        return
    wrong = []
    for first in range(0, len(scene.pins) - threads + 1, threads):
        group = scene.pins[first : first + threads]
        lead = scene.cpus.get(group[0])
        if lead and not set(group) <= set(lead.siblings):
            own = ",".join(map(str, lead.siblings))
            wrong.append(f"vCPUs {first} and {first + 1} are one core of the guest, on CPUs {group[0]} and {group[1]}")
            wrong[-1] += f" of different cores (the core of CPU {group[0]} is {own})"
    if wrong:
        more = f", and {len(wrong) - 1} more such cores" if len(wrong) > 1 else ""
        yield finding("pin-siblings", "cpu.pin", wrong[0] + more, scene.better_pins())


def _shared_cores(scene: Scene) -> Iterator[Problem]:
    pins = CpuSet(scene.pins)
    whole = scene.cores(pins)
    loose = CpuSet(whole - pins)
    left = CpuSet(set(scene.cpus) - whole)
    if not left:
        message = f"the guest takes a part of every core (CPU {pins}): the host keeps none for itself"
        yield finding("pin-host-none", "cpu.pin", message, scene.better_pins())
    elif loose and not (len(whole) == 2 * len(pins) and _same_idle(scene)):
        message = f"CPU {loose} stay with the host, on the same cores as the guest's CPU {CpuSet(pins & _next(scene))}"
        yield finding("pin-core-shared", "cpu.pin", message, scene.better_pins())


def _next(scene: Scene) -> set[int]:
    """Give the guest's CPUs that have a sibling which is not the guest's."""
    return {cpu.cpu for cpu in scene.placed if not set(cpu.siblings) <= set(scene.pins)}


def _same_idle(scene: Scene) -> bool:
    """Whether the chooser too would use one thread of each core, for this number or this topology."""
    return bool(scene.choice.pins) and len(scene.choice.guest) == 2 * len(scene.choice.pins)


def _isolated(scene: Scene) -> Iterator[Problem]:
    isolated = scene.facts.cpus.isolated & set(scene.cpus)
    outside = CpuSet(set(scene.pins) - isolated)
    free = isolated - scene.taken
    if free and outside and len(free) >= len(scene.pins):
        message = f"the kernel keeps CPU {CpuSet(isolated)} free (isolcpus), and the guest runs on CPU {outside} too"
        yield finding("pin-isolated", "cpu.pin", message, scene.better_pins())


def _spread(scene: Scene) -> Iterator[Problem]:
    better = [scene.cpus[cpu] for cpu in scene.choice.pins if cpu in scene.cpus]
    nodes, domains = _places(cpu.node for cpu in scene.placed), _places(cpu.l3 for cpu in scene.placed)
    if not better:
        return
    better_nodes, better_domains = _places(cpu.node for cpu in better), _places(cpu.l3 for cpu in better)
    if len(nodes) > len(better_nodes) > 0:
        message = f"the guest is spread over {len(nodes)} NUMA nodes ({_list(nodes)}); node {better_nodes[0]} holds it"
        yield finding("pin-nodes", "cpu.pin", message, scene.better_pins())
    elif scene.node is not None and nodes and scene.node not in nodes and scene.node in better_nodes:
        what = "memory" if scene.machine.memory.node is not None else "graphics card"
        message = f"the guest runs on node {_list(nodes)}, and its {what} is on node {scene.node}"
        yield finding("pin-away", "cpu.pin", message, scene.better_pins())
    elif len(domains) > len(better_domains) > 0:
        message = f"the guest is spread over {len(domains)} L3 caches; {_count(better_domains)} is enough for its "
        yield finding("pin-l3", "cpu.pin", f"{message}{len(scene.pins)} vCPUs", scene.better_pins())


def _kinds(scene: Scene) -> Iterator[Problem]:
    kinds = [kind for kind in CORE_CLASSES if any(cpu.kind == kind for cpu in scene.placed)]
    better = {scene.cpus[cpu].kind for cpu in scene.choice.pins if cpu in scene.cpus}
    if len(kinds) > 1 and 0 < len(better) < len(kinds):
        parts = (f"{kind} on CPU {CpuSet(_of_kind(scene.placed, kind))}" for kind in kinds)
        message = f"the guest mixes classes of cores: {', '.join(parts)}; its scheduler takes them for equals"
        yield finding("pin-classes", "cpu.pin", message, scene.better_pins())


def _of_kind(cpus: Iterable[Cpu], kind: str) -> list[int]:
    return [cpu.cpu for cpu in cpus if cpu.kind == kind]


def _places(numbers: Iterable[int | None]) -> list[int]:
    return sorted({number for number in numbers if number is not None})


def _list(numbers: list[int]) -> str:
    return " and ".join(map(str, numbers))


def _count(places: list[int]) -> str:
    return "one" if len(places) == 1 else str(len(places))
