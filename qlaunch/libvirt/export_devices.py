"""The small emulated devices in libvirt's words: TPM, randomness, balloon, watchdog, panic, vsock, shared memory.

Source: libvirt's ``docs/formatdomain.rst``, "Devices"; ``src/qemu/qemu_domain.c``,
``qemuDomainDefAddDefaultDevices`` (a balloon is added unless refused).
"""

from collections.abc import Iterator

from qlaunch.libvirt.export_sheet import Native, Part, Sheet, left, state
from qlaunch.libvirt.export_xml import Element, element


def emulated(sheet: Sheet) -> Iterator[Part]:
    """Yield TPM, watchdog, balloon, randomness, panic device."""
    machine = sheet.machine
    if machine.tpm:
        backend = element("backend", type="emulator", version=machine.tpm.version)
        yield element("tpm", backend, model=f"tpm-{machine.tpm.model}")
    yield from _watchdog(sheet)
    if machine.memory.balloon:
        place = sheet.places.address("balloon0")
        deflate, reporting = state(machine.memory.balloon_deflate), state(machine.memory.balloon_reporting)
        yield element("memballoon", place, model="virtio", autodeflate=deflate, freePageReporting=reporting)
    else:
        yield element("memballoon", model="none")
    if machine.rng.enabled:
        yield _rng(sheet)
    if machine.machine.panic_device:
        yield element("panic", model="isa")
    if machine.cpu.hyperv.crash:
        yield element("panic", model="hyperv")
    if machine.vsock:
        cid = element("cid", auto="no", address=machine.vsock.cid)
        yield element("vsock", cid, sheet.places.address("vsock0"), model="virtio")
    for index, shared in enumerate(machine.shmem):
        model, size = element("model", type="ivshmem-plain"), element("size", text=shared.size >> 20, unit="M")
        yield element("shmem", model, size, sheet.places.address(f"shmem{index}"), name=shared.name)


def _rng(sheet: Sheet) -> Element:
    wanted = sheet.machine.rng
    backend = element("backend", text=wanted.source, model="random")
    if wanted.source == "builtin":
        backend = element("backend", model="builtin")
    rate = element("rate", bytes=wanted.max_bytes, period=wanted.period_ms) if wanted.max_bytes else None
    return element("rng", rate, backend, sheet.places.address("rng0"), model="virtio")


def _watchdog(sheet: Sheet) -> Iterator[Part]:
    board = sheet.machine.machine
    if board.watchdog == "itco" and not sheet.knows("itco"):
        yield Native(("-global", "ICH9-LPC.noreboot=off"))
    elif board.watchdog:
        action = "reset" if board.watchdog_action == "debug" else board.watchdog_action
        yield element("watchdog", sheet.places.address("watchdog0"), model=board.watchdog, action=action)
    if board.watchdog and board.watchdog_action == "debug":
        yield left("machine.watchdog_action", "libvirt has no word for a watchdog that only tells; it resets")
