"""The guest's CPUs, its enlightenments and timers in libvirt's words: ``features``, ``cpu``, ``clock``.

Source: libvirt's ``docs/formatdomain.rst``, "CPU model and topology", "Hypervisor features", "Time keeping";
``src/qemu/qemu_capabilities.c``, ``virQEMUCapsCPUFeatureTranslationTable`` (features that the two spell differently).
"""

import re
from collections.abc import Iterator

from qlaunch.devices.cpu import Cpu
from qlaunch.libvirt.export_memory import cells
from qlaunch.libvirt.export_sheet import Native, Part, Sheet, Word, changed, left, since, state, yes
from qlaunch.libvirt.export_xml import Element, element

# QEMU's spelling, and libvirt's.
_SPELLED = {
    "cmp-legacy": "cmp_legacy",
    "ds-cpl": "ds_cpl",
    "fxsr-opt": "fxsr_opt",
    "lahf-lm": "lahf_lm",
    "nodeid-msr": "nodeid_msr",
    "pclmulqdq": "pclmuldq",
    "perfctr-core": "perfctr_core",
    "perfctr-nb": "perfctr_nb",
    "tsc-adjust": "tsc_adjust",
    "sse4-1": "sse4.1",
    "sse4-2": "sse4.2",
    "tsc-scale": "tsc-scale",
}
# Properties of -cpu that are no CPU features, so that libvirt would refuse them as such.
_PROPERTIES = ("hv-", "kvm-", "x-", "host-", "vmware-", "l3-cache", "legacy-", "cpuid-", "full-cpuid", "fill-mtrr")
# Features for which libvirt has words outside of <cpu>, or other words inside of it.
_ELSEWHERE = ("pmu", "kvm-pv-eoi", "kvm-pv-unhalt", "kvm-poll-control", "kvm-pv-ipi", "l3-cache")
_HYPERV = (
    *("relaxed", "vapic", "spinlocks", "vpindex", "runtime", "synic", "stimer", "reset", "vendor_id", "frequencies"),
    *("reenlightenment", "tlbflush", "ipi", "evmcs", "avic", "emsr_bitmap", "xmm_input"),
)
_LATE: tuple[Word, ...] = ("emsr_bitmap", "xmm_input")


def features(sheet: Sheet) -> Iterator[Part]:
    """Yield ``features``, and what of it is told."""
    machine = sheet.machine
    hyperv, found = _hyperv(sheet)
    yield from found
    own = {word[1:]: word[0] == "+" for word in machine.cpu.features}
    ps2 = not machine.machine.ps2
    chip = {"kernel": "kvm", "split": "qemu", None: None}[machine.machine.irqchip]
    yield element(
        "features",
        element("acpi") if machine.machine.acpi else None,
        element("apic", eoi=_state_of(own, "kvm-pv-eoi")),
        hyperv,
        _kvm(sheet, own),
        element("pvspinlock", state=_state_of(own, "kvm-pv-unhalt")) if "kvm-pv-unhalt" in own else None,
        element("pmu", state=_state_of(own, "pmu")) if "pmu" in own else None,
        element("vmport", state=state(machine.machine.vmport)),
        element("ioapic", driver=chip) if chip else None,
        _smm(sheet),
        element("ps2", state="off") if ps2 and sheet.knows("ps2") else None,
    )
    if ps2 and not sheet.knows("ps2"):
        yield Native(("-machine", "i8042=off"))


def _kvm(sheet: Sheet, own: dict[str, bool]) -> Element | None:
    wanted, ring = sheet.machine.cpu, sheet.machine.machine.dirty_ring
    kvm = (
        element("hidden", state="on") if wanted.hide_kvm else None,
        element("hint-dedicated", state="on") if wanted.dedicated_hint else None,
        element("poll-control", state=_state_of(own, "kvm-poll-control")) if "kvm-poll-control" in own else None,
        element("pv-ipi", state=_state_of(own, "kvm-pv-ipi")) if "kvm-pv-ipi" in own else None,
        element("dirty-ring", state="on", size=ring) if ring else None,
    )
    return element("kvm", *kvm) if any(kvm) else None


def _smm(sheet: Sheet) -> Element | None:
    """Say what holds of system management mode. With firmware by path, libvirt does not look whether it needs it."""
    board, files = sheet.machine.machine, sheet.site.firmware
    needed = bool(sheet.machine.firmware.code and files and files.needs_smm)
    if board.smm is None and not needed:
        return None
    on = needed if board.smm is None else board.smm
    size = element("tseg", text=board.tseg.mib, unit="MiB") if board.tseg and on else None
    return element("smm", size, state=state(on))


def _state_of(own: dict[str, bool], feature: str) -> str | None:
    return state(own[feature]) if feature in own else None


def cpu(sheet: Sheet) -> Iterator[Part]:
    """Yield ``cpu``."""
    wanted, shape = sheet.machine.cpu, sheet.machine.cpu.shape()
    topology = element("topology", sockets=shape.sockets, dies=shape.dies, cores=shape.cores, threads=shape.threads)
    if shape.dies == 1:
        topology = element("topology", sockets=shape.sockets, cores=shape.cores, threads=shape.threads)
    model = wanted.model_under(sheet.site.accel)
    own = [word for word in wanted.features if word[1:] not in _ELSEWHERE and not word[1:].startswith(_PROPERTIES)]
    policies = tuple(element("feature", policy=_policy(word), name=_SPELLED.get(word[1:], word[1:])) for word in own)
    inside = (topology, _cache(sheet, model), _physical_bits(wanted), *policies, cells(sheet))
    if model in ("host", "max"):
        mode = "host-passthrough" if model == "host" else "maximum"
        migratable = state(wanted.migratable) if sheet.site.accel == "kvm" else None
        yield element("cpu", *inside, mode=mode, check="none", migratable=migratable)
    else:
        name = element("model", text=model, fallback="forbid")
        yield element("cpu", name, *inside, mode="custom", match="exact", check="none")
        if re.search(r"-v\d+$", model) and not sheet.knows("versioned models"):
            message = f"libvirt knows models with a version, such as {model}, from {since('versioned models')} on"
            yield changed("cpu.model", message, "name the model without its version")
    for index, word in enumerate(wanted.features):
        if word not in own and word[1:] not in _ELSEWHERE:
            message = f"{word} is a property of QEMU's -cpu and no CPU feature; libvirt has no word for it"
            yield left(f"cpu.features.{index}", message)


def _cache(sheet: Sheet, model: str) -> Element | None:
    wanted = sheet.machine.cpu
    if wanted.host_cache_info and model in ("host", "max"):
        return element("cache", mode="passthrough")
    if "+l3-cache" in wanted.features:
        return element("cache", level=3, mode="emulate")
    return element("cache", mode="disable") if "-l3-cache" in wanted.features else None


def _physical_bits(wanted: Cpu) -> Element | None:
    bits = wanted.physical_bits
    if bits is None:
        return None
    return (
        element("maxphysaddr", mode="passthrough")
        if bits == "host"
        else element("maxphysaddr", mode="emulate", bits=bits)
    )


def clock(sheet: Sheet) -> Iterator[Part]:
    """Yield ``clock`` with its timers."""
    wanted, kvm = sheet.machine.clock, sheet.site.accel == "kvm"
    own = sheet.machine.cpu.hyperv
    time = "time" in own.enabled() if own.preset != "passthrough" else None
    stated = time or own.time is False
    rtc = {"tickpolicy": "catchup" if wanted.rtc_catchup else None, "track": wanted.track}
    tsc = {"frequency": wanted.tsc_khz and wanted.tsc_khz * 1000, "mode": wanted.tsc if kvm else None}
    yield element(
        "clock",
        element("timer", name="rtc", **rtc) if any(rtc.values()) else None,
        element("timer", name="pit", tickpolicy=wanted.pit) if wanted.pit and kvm else None,
        element("timer", name="hpet", present=yes(wanted.hpet)),
        element("timer", name="kvmclock", present="no") if kvm and not wanted.kvmclock else None,
        element("timer", name="hypervclock", present=yes(bool(time))) if kvm and stated else None,
        element("timer", name="tsc", present="yes", **tsc) if kvm and any(tsc.values()) else None,
        offset=wanted.base,
    )
    if wanted.tsc == "native" and kvm and "+invtsc" not in sheet.machine.cpu.features:
        message = 'libvirt does nothing for mode="native"; only as a CPU feature does invtsc reach the guest'
        yield changed("clock.tsc", message, 'add "+invtsc" to cpu.features, and export again')


def _policy(word: str) -> str:
    return "require" if word[0] == "+" else "disable"


def _hyperv(sheet: Sheet) -> tuple[Element | None, list[Part]]:
    """Give ``hyperv`` and what of it is told. Under TCG there are no enlightenments."""
    wanted = sheet.machine.cpu.hyperv
    if sheet.site.accel != "kvm" or not wanted.is_used():
        return None, []
    if wanted.preset == "passthrough":
        return element("hyperv", mode="passthrough"), []
    values = dict(wanted.properties())
    found: list[Part] = []
    children = []
    for name in _HYPERV:
        value = values.get(f"hv-{name.replace('_', '-')}")
        if value is None and getattr(wanted, name) is False:
            children.append(element(name, state="off"))
        if value is None:
            continue
        late = next((word for word in _LATE if word == name), None)
        if late and not sheet.knows(late):
            found.append(left(f"cpu.hyperv.{name}", f"libvirt knows {name} from {since(late)} on"))
            continue
        children.append(_flag(sheet, name, value, found))
    for name in ("tlbflush_direct", "no_nonarch_coresharing"):
        needs_parent = name == "tlbflush_direct" and "hv-tlbflush" in values
        if f"hv-{name.replace('_', '-')}" in values and not needs_parent:
            found.append(left(f"cpu.hyperv.{name}", f"libvirt has no word for {name.replace('_', '-')}"))
    return (element("hyperv", *children, mode="custom") if children else None), found


def _flag(sheet: Sheet, name: str, value: str | bool, found: list[Part]) -> Element:  # noqa: FBT001
    wanted = sheet.machine.cpu.hyperv
    enabled = wanted.enabled()
    match name:
        case "spinlocks":
            return element(name, state="on", retries=int(str(value), 16))
        case "vendor_id":
            return element(name, state="on", value=str(value))
        case "stimer":
            direct = element("direct", state=state("stimer_direct" in enabled))
            said = wanted.stimer_direct is not None or "stimer_direct" in enabled
            return element(name, direct if said else None, state="on")
        case "tlbflush":
            subs = {"direct": "tlbflush_direct", "extended": "tlbflush_ext"}
            asked = {word: flag for word, flag in subs.items() if flag in enabled}
            if not sheet.knows("tlbflush parts"):
                version = since("tlbflush parts")
                found += [
                    left(f"cpu.hyperv.{flag}", f"libvirt knows {flag} from {version} on") for flag in asked.values()
                ]
                asked = {}
            return element(name, *(element(word, state="on") for word in asked), state="on")
        case _:
            return element(name, state="on")
