"""``features``: what board, KVM and Hyper-V show the guest.

Source: libvirt's ``docs/formatdomain.rst``, "Hypervisor features"; ``src/qemu/qemu_command.c``,
``qemuBuildCpuFeaturesCommandLine`` and ``qemuBuildMachineCommandLine``.
"""

from qlaunch.libvirt.import_draft import Draft
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_FLAGS = (
    *("relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "reset", "frequencies", "reenlightenment"),
    *("tlbflush", "ipi", "evmcs", "avic", "emsr_bitmap", "xmm_input"),
)
_IDLE = {
    **dict.fromkeys(("pae",), "every x86_64 CPU of QEMU's has it"),
    **dict.fromkeys(("hap", "viridian", "privnet", "xen", "capabilities"), "is for Xen or containers"),
    **dict.fromkeys(
        ("gic", "htm", "nested-hv", "ccf-assist", "hpt", "cfpc", "sbbc", "ibs", "ras", "aia", "privnet"),
        "is not for x86",
    ),
}
_KVM_FEATURES = {"poll-control": "kvm-poll-control", "pv-ipi": "kvm-pv-ipi"}


def features(draft: Draft, places: Places) -> None:
    """Read every child of ``features``."""
    del places
    node = draft.root.one("features")
    holder = node or draft.root
    board = node or Node("features", {}, None, 0, 0)
    draft.set(holder, "machine", "acpi", board.one("acpi") is not None)
    apic = board.one("apic")
    if (eoi := draft.flag(apic, "eoi")) is not None:
        _feature(draft, holder, "kvm-pv-eoi", on=eoi)
    # Without a word of it libvirt leaves the port to QEMU, which has it.
    vmport = draft.flag(board.one("vmport"), "state")
    draft.set(holder, "machine", "vmport", vmport is not False)
    draft.set(holder, "machine", "ps2", draft.flag(board.one("ps2"), "state"))
    for tag, name in (("pmu", "pmu"), ("pvspinlock", "kvm-pv-unhalt")):
        child = board.one(tag)
        state = draft.flag(child, "state")
        if child is not None:
            _feature(draft, child, name, on=state is not False)
    irqchip = draft.choice(board.one("ioapic"), "driver", {"kvm": "kernel", "qemu": "split"})
    draft.set(holder, "machine", "irqchip", irqchip)
    _smm(draft, board.one("smm"))
    _kvm(draft, board.one("kvm"))
    hyperv = board.one("hyperv")
    if hyperv is not None:
        _hyperv(draft, hyperv)
    _others(draft, board)


def _feature(draft: Draft, node: Node, name: str, *, on: bool) -> None:
    wanted = draft.tables.setdefault("cpu", {}).setdefault("features", [])
    word = f"{'+' if on else '-'}{name}"
    if word not in wanted and f"{'-' if on else '+'}{name}" not in wanted:
        wanted.append(word)
        draft.keys[("cpu", "features", len(wanted) - 1)] = node


def _smm(draft: Draft, node: Node | None) -> None:
    if node is None:
        return
    state = draft.flag(node, "state")
    draft.set(node, "machine", "smm", state is not False)
    tseg = node.one("tseg")
    size = draft.size(tseg, tseg.word() if tseg else None, "MiB")
    if tseg is not None and size:
        draft.set(tseg, "machine", "tseg", f"{size >> 20}M")


def _kvm(draft: Draft, node: Node | None) -> None:
    if node is None:
        return
    draft.set(node, "cpu", "hide_kvm", draft.flag(node.one("hidden"), "state"))
    draft.set(node, "cpu", "dedicated_hint", draft.flag(node.one("hint-dedicated"), "state"))
    for tag, name in _KVM_FEATURES.items():
        child = node.one(tag)
        if child is not None and (state := draft.flag(child, "state")) is not None:
            _feature(draft, child, name, on=state)
    ring = node.one("dirty-ring")
    size = draft.number(ring, "size")
    if ring is not None and draft.flag(ring, "state"):
        draft.set(ring, "machine", "dirty_ring", size or 4096)


def _hyperv(draft: Draft, node: Node) -> None:
    mode = node.get("mode")
    if mode == "passthrough":
        draft.set(node, "cpu.hyperv", "preset", "passthrough")
        for child in node.children:
            child.close()
            if child.attributes.get("state") != "off":
                draft.idle(child, "passthrough has every enlightenment already")
        return
    if mode == "host-model":
        message = "the host's enlightenments are taken one by one by libvirt; preset gaming stands for them"
        draft.differs(node, message, ("cpu", "hyperv", "preset"), "mode")
        draft.set(node, "cpu.hyperv", "preset", "gaming")
    for name in _FLAGS:
        if (flag := node.one(name)) is not None:
            _flag(draft, name, flag)
    _valued(draft, node)
    if mode != "host-model":
        _complete(draft, node)


def _flag(draft: Draft, name: str, node: Node) -> None:
    """Read one enlightenment, with the parts that some have."""
    draft.set(node, "cpu.hyperv", name, draft.flag(node, "state") is not False)
    for part, key in (("direct", "direct"), ("extended", "ext")):
        inner = node.one(part)
        if inner is not None and (on := draft.flag(inner, "state")) is not None:
            draft.set(inner, "cpu.hyperv", f"{name}_{key}", on)


def _valued(draft: Draft, node: Node) -> None:
    spinlocks = node.one("spinlocks")
    if spinlocks is not None:
        retries = draft.number(spinlocks, "retries", 4095, 0xFFFFFFFF)
        if draft.flag(spinlocks, "state") is not False:
            draft.set(spinlocks, "cpu.hyperv", "spinlocks", retries or 4095)
    vendor = node.one("vendor_id")
    if vendor is not None:
        text = vendor.get("value")
        if draft.flag(vendor, "state") is not False:
            draft.set(vendor, "cpu.hyperv", "vendor_id", text)


def _complete(draft: Draft, node: Node) -> None:
    """Drop what QEMU would refuse for want of another, and take the time that stimer counts on as libvirt does."""
    wanted = draft.tables.get("cpu", {}).get("hyperv", {})
    timers = [
        timer
        for clock in draft.root.children
        if clock.tag == "clock"
        for timer in clock.children
        if timer.tag == "timer" and timer.attributes.get("name") == "hypervclock"
    ]
    has_time = any(timer.attributes.get("present") != "no" for timer in timers)
    if wanted.get("stimer") and not has_time:
        draft.differs(
            node, "stimer needs hypervclock: time is added, or QEMU would not start", ("cpu", "hyperv", "time")
        )
        draft.set(node, "cpu.hyperv", "time", value=True)
    if not any(value is True or isinstance(value, int) for value in wanted.values()) and not wanted.get("vendor_id"):
        return
    if len([key for key in wanted if wanted[key] is True]) >= 10:
        draft.comment(("cpu", "hyperv"), 'one by one, as libvirt had them; preset = "gaming" has them all')


def _others(draft: Draft, board: Node) -> None:
    if board.one("vmcoreinfo") is not None:
        node = board.one("vmcoreinfo")
        if node is not None and draft.flag(node, "state") is not False:
            draft.pass_on("-device", "vmcoreinfo")
    cache = board.one("tcg")
    if cache is not None:
        draft.lost(cache, "the size of the emulator's code cache has no key here")
    msrs = board.one("msrs")
    if msrs is not None:
        draft.lost(msrs, 'is the host\'s to say: host.sysfs = { "/sys/module/kvm/parameters/ignore_msrs" = "Y" }')
    teardown = board.one("async-teardown")
    if teardown is not None:
        draft.idle(teardown, "how the host frees memory after the end")
    for tag, reason in _IDLE.items():
        for node in board.each(tag):
            draft.idle(node, reason)
