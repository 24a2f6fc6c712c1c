"""Where threads run: pins, iothreads, schedulers. What libvirt does with control groups is told as having no key.

Source: libvirt's ``docs/formatdomain.rst``, "CPU Tuning", "CPU Allocation", "IOThreads Allocation".
"""

from qlaunch.libvirt.import_draft import Draft, integer, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places
from qlaunch.values.cpus import CpuSet, parse_cpu_list

_QUOTAS = (
    *("shares", "period", "quota", "global_period", "global_quota"),
    *("emulator_period", "emulator_quota", "iothread_period", "iothread_quota"),
)


def threads(draft: Draft, places: Places) -> None:
    """Read iothreads and all pins."""
    del places
    _iothreads(draft)
    tune = draft.root.one("cputune")
    everywhere = _everywhere(draft)
    emulator = tune.one("emulatorpin") if tune else None
    cpus = cpu_set(draft, emulator, "cpuset") if emulator else everywhere
    if cpus:
        draft.set(emulator or draft.root, "cpu", "emulator", str(cpus))
    pins = tune.each("vcpupin") if tune else []
    if pins or everywhere:
        _pins(draft, pins, everywhere)
    if tune is None:
        return
    for node in tune.each("iothreadpin"):
        _iothread_pin(draft, node)
    _schedulers(draft, tune)
    for tag in _QUOTAS:
        draft.lost(tune.one(tag), "qlaunch gives a guest whole CPUs: shares and quotas have no key")
    for tag in ("cachetune", "memorytune"):
        for node in tune.each(tag):
            draft.lost(node, "parts of a cache or of the memory's bandwidth have no key here")


def cpu_set(draft: Draft, node: Node | None, name: str) -> CpuSet | None:
    """Read a set of host CPUs; libvirt can take some out again with ^."""
    text = None if node is None else node.get(name)
    if node is None or text is None:
        return None
    try:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        out = CpuSet(cpu for part in parts if part[0] == "^" for cpu in parse_cpu_list(part[1:]))
        return CpuSet(CpuSet(cpu for part in parts if part[0] != "^" for cpu in parse_cpu_list(part)) - out)
    except ValueError:
        draft.asks(node, f'"{shown(text)}" is no set of CPUs; left out', (), name)
        return None


def _everywhere(draft: Draft) -> CpuSet | None:
    """Read where all threads run that have no pins of their own."""
    node = draft.root.one("vcpu")
    placement = draft.choice(node, "placement", {"static": "static", "auto": "auto"})
    if placement == "auto" and node is not None:
        draft.asks(node, 'libvirt asks numad where to run; write pin = "auto" in [cpu]', ("cpu", "pin"), "placement")
    return cpu_set(draft, node, "cpuset")


def _pins(draft: Draft, pins: list[Node], everywhere: CpuSet | None) -> None:
    """Give each vCPU one host CPU: libvirt's sets are wider than what a pin is here."""
    shape = draft.tables.get("cpu", {}).get("topology", {})
    count = 1
    for level in shape.values():
        count *= level
    sets: dict[int, CpuSet] = {}
    for node in pins:
        number, cpus = draft.number(node, "vcpu", 0, 4095), cpu_set(draft, node, "cpuset")
        if number is not None and cpus is not None:
            if number >= count:
                draft.differs(node, f"there is no vCPU {number}", ("cpu", "pin"))
            else:
                sets[number] = cpus
    node = pins[0] if pins else draft.root
    for number in range(count):
        if number not in sets and everywhere:
            sets[number] = everywhere
    chosen = _one_each([sets.get(number, CpuSet()) for number in range(count)])
    if chosen is None:
        if sets:
            missing = [number for number in range(count) if not sets.get(number)]
            why = f"vCPU {CpuSet(missing)} has no pin" if missing else "they cannot have a CPU each"
            message = f'the pins are left out, since {why}; write one CPU for each vCPU, or pin = "auto"'
            draft.asks(node, message, ("cpu", "pin"))
            draft.comment(("cpu",), f"needs your word: pins, since {why} in libvirt's")
        return
    draft.set(node, "cpu", "pin", ",".join(map(str, chosen)))
    if any(len(cpus) > 1 for cpus in sets.values()):
        message = "each vCPU has one CPU of the set over which libvirt lets it wander"
        draft.differs(node, message, ("cpu", "pin"))


def _one_each(sets: list[CpuSet]) -> list[int] | None:
    """Choose a different CPU from each set; None where that cannot be (augmenting paths, as in any matching)."""
    owner: dict[int, int] = {}

    def place(index: int) -> bool:
        """Find a CPU for one set, moving others along a path to a free one."""
        came: dict[int, tuple[int, int | None]] = {}
        waiting: list[tuple[int, int | None]] = [(index, None)]
        for current, through in waiting:
            for cpu in sorted(sets[current]):
                if cpu in came:
                    continue
                came[cpu] = (current, through)
                if cpu not in owner:
                    step: int | None = cpu
                    while step is not None:
                        owner[step], step = came[step]
                    return True
                waiting.append((owner[cpu], cpu))
        return False

    if not sets or not all(place(index) for index in range(len(sets))):
        return None
    chosen = {index: cpu for cpu, index in owner.items()}
    return [chosen[index] for index in range(len(sets))]


def _iothreads(draft: Draft) -> None:
    node, ids = draft.root.one("iothreads"), draft.root.one("iothreadids")
    count = 0
    if node is not None:
        count = integer(node.word()) or 0
        if not 0 <= count <= 256:
            draft.asks(node, f'"{shown(node.word())}" is not a number of iothreads', ("iothread",))
            count = 0
    seen: set[int] = set()
    for child in ids.each("iothread") if ids else []:
        draft.lost(child, "the size of its thread pool has no key here", "thread_pool_min", "thread_pool_max")
        number = draft.number(child, "id", 1, 100_000)
        if number is None or number in seen:
            continue
        seen.add(number)
        row, _ = draft.add(child, "iothread", name=f"io{number}")
        poll = child.one("poll")
        for name in ("max", "grow", "shrink"):
            value = draft.number(poll, name)
            if value is not None:
                row[f"poll_{name}" + ("_ns" if name == "max" else "")] = value
    number = 1
    while len(seen) < count:
        if number not in seen:
            seen.add(number)
            draft.add(node or draft.root, "iothread", name=f"io{number}")
        number += 1
    default = draft.root.one("defaultiothread")
    draft.lost(default, "the main loop's thread pool has no key here")


def iothread_name(draft: Draft, node: Node | None, name: str = "iothread") -> str | None:
    """Read the number of an iothread and give its name; one that is not there is added."""
    number = draft.number(node, name, 1, 100_000)
    if node is None or number is None:
        return None
    known = {row["name"] for row in draft.tables.get("iothread", [])}
    if f"io{number}" not in known:
        draft.differs(node, f"there is no iothread {number} in <iothreads>; it is added", ("iothread",))
        draft.add(node, "iothread", name=f"io{number}")
    return f"io{number}"


def _iothread_pin(draft: Draft, node: Node) -> None:
    cpus = cpu_set(draft, node, "cpuset")
    number = draft.number(node, "iothread", 1, 100_000)
    rows = [row for row in draft.tables.get("iothread", []) if row["name"] == f"io{number}"]
    if not rows:
        draft.differs(node, f"there is no iothread {number}", ("iothread",))
    elif cpus:
        rows[0]["pin"] = str(cpus)


def _schedulers(draft: Draft, tune: Node) -> None:
    found: set[str] = set()
    nodes = tune.each("vcpusched")
    for node in nodes:
        cpu_set(draft, node, "vcpus")
        kind = node.get("scheduler")
        priority = draft.number(node, "priority", 1, 99)
        if kind in ("fifo", "rr"):
            found.add(f"{kind}:{priority or 1}")
        elif kind not in ("batch", "idle", "other"):
            draft.asks(node, f'"{shown(kind or "")}" is no scheduler', ("cpu", "scheduler"))
        else:
            draft.lost(node, "of the schedulers only fifo and rr have a key")
    if len(found) == 1:
        draft.set(nodes[0], "cpu", "scheduler", found.pop())
    elif found:
        draft.asks(nodes[0], f"vCPUs have one scheduler here, not {' and '.join(sorted(found))}", ("cpu", "scheduler"))
    for tag in ("iothreadsched", "emulatorsched"):
        for node in tune.each(tag):
            draft.lost(node, "only vCPUs have a scheduler of their own here")
