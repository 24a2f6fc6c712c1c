"""PCI devices that go to the guest: their drivers, and what stands against giving them away."""

from collections.abc import Iterator

from qlaunch.devices.pci import Pci
from qlaunch.errors import Problem
from qlaunch.host.pci import PciDevice
from qlaunch.preparation.wish import Wish
from qlaunch.steps.pci_driver import VFIO
from qlaunch.steps.step import Step
from qlaunch.values.pci import PciAddress

_LANE = "devices/pci"
_DEVICES = "/sys/bus/pci/devices"
# Bound to these, or to nothing, a neighbour leaves its group viable (drivers/vfio/vfio_main.c, drivers/iommu/iommu.c).
_HARMLESS = frozenset({None, "vfio-pci", "pci-stub", "pcieport"})


def steps(wish: Wish) -> Iterator[Step]:
    """Yield what is set while a device is away, and its hand-over: sound before picture, since it hangs on it."""
    for pci in wish.machine.pci:
        devices = sorted(wanted(wish, pci), key=lambda device: (device.display, device.address))
        if not devices:
            continue
        power = {f"{_DEVICES}/{device.address}/power/control": "on" for device in devices}
        yield Step(kind="sysfs", summary=f"{pci.host} awake", claims=power, lane=_LANE)
        if pci.reset_method:
            path = f"{_DEVICES}/{devices[-1].address}/reset_method"
            yield Step(kind="sysfs", summary=f"reset of {pci.host}", claims={path: pci.reset_method}, lane=_LANE)
        yield Step(
            kind="pci-driver",
            summary=f"{pci.host} to {VFIO}",
            claims={str(device.address): VFIO for device in devices},
            lane=_LANE,
        )


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield everything that makes giving a device away impossible or unwise."""
    if not wish.machine.pci:
        return
    iommu = wish.facts.iommu
    if not iommu.enabled:
        yield Problem(code="no-iommu", key="pci", message=iommu.absence or "there are no IOMMU groups", hint=iommu.hint)
        return
    given = {device.address for pci in wish.machine.pci for device in wanted(wish, pci)}
    for number, pci in enumerate(wish.machine.pci):
        key = f"pci.{number}"
        devices = wanted(wish, pci)
        if not pci.is_named:
            continue  # told where it was looked for
        if not devices:
            yield Problem(
                code="no-device",
                key=f"{key}.host",
                message=f"there is no device at {pci.host}",
                hint="see: qlaunch groups",
            )
            continue
        yield from _identity(wish, pci, devices, key)
        yield from _strangers(wish, devices, given, key)
        yield from _own(wish, devices, key)
        yield from _holders(wish, devices, key)
        if pci.rom:
            yield from _rom(wish, pci.rom, devices[0], f"{key}.rom")


def wanted(wish: Wish, pci: Pci) -> list[PciDevice]:
    """Give the functions of a slot that a machine wants, of those that are there; never a bridge."""
    there = [device for device in wish.facts.pci.slot(pci.host) if not device.bridge]
    numbers = pci.chosen(tuple(device.address.function or 0 for device in there))
    return [device for device in there if device.address.function in numbers]


def _identity(wish: Wish, pci: Pci, devices: list[PciDevice], key: str) -> Iterator[Problem]:
    if pci.id and devices[0].id != pci.id:
        others = [device.address.slot for device in wish.facts.pci.devices if device.id == pci.id]
        hint = f'it is at {", ".join(others)} now: write host = "{others[0]}"' if others else "see: qlaunch groups"
        message = f"{devices[0].address} is {devices[0].id} now, and not {pci.id}: the address has moved"
        yield Problem(code="identity", key=f"{key}.id", message=message, hint=hint)


def _strangers(wish: Wish, devices: list[PciDevice], given: set[PciAddress], key: str) -> Iterator[Problem]:
    for group in sorted({device.group for device in devices if device.group is not None}):
        strangers = [
            device
            for device in wish.facts.pci.group(group)
            if device.address not in given and not device.bridge and device.driver not in _HARMLESS
        ]
        if strangers:
            names = ", ".join(f"{device.address} ({device.driver})" for device in strangers)
            message = f"IOMMU group {group} has devices that stay with the host: {names}"
            hint = "give them to the guest, too, or put the card into another slot: a group cannot be divided"
            yield Problem(code="group", key=f"{key}.host", message=message, hint=hint)


def _own(wish: Wish, devices: list[PciDevice], key: str) -> Iterator[Problem]:
    for device in devices:
        used = sorted({use.kind for disk in wish.facts.blocks.on(device.address) for use in disk.uses if use.in_use})
        if used:
            message = f"{device.address} carries disks that this host uses: {', '.join(used)}"
            yield Problem(code="own-disk", key=f"{key}.host", message=message, hint="take it out of [[pci]]")
        links = [link.name for link in wish.facts.network.on(device.address) if link.default_route]
        if links:
            message = f"{device.address} is this host's way to the network ({', '.join(links)})"
            yield Problem(code="own-network", key=f"{key}.host", message=message, hint="take it out of [[pci]]")


def _holders(wish: Wish, devices: list[PciDevice], key: str) -> Iterator[Problem]:
    """Name who holds a device now. Where services are stopped first, the hand-over looks itself, after that."""
    if wish.machine.host.services.stop or all(device.driver == VFIO for device in devices):
        return
    for device in devices:
        names = sorted({f"{one.name} (process {one.pid})" for one in wish.facts.holders.of(device.address)})
        if names and device.driver != VFIO:
            message = f"{device.address} is held open by {', '.join(names)}"
            hint = "end it first, or name its service in host.services.stop"
            yield Problem(code="held", key=f"{key}.host", message=message, hint=hint)


def _rom(wish: Wish, path: str, device: PciDevice, key: str) -> Iterator[Problem]:
    """Tell of a file that is no ROM; what is odd about one is a warning, since cards are sold with such."""
    if not wish.facts.tree.live:
        return
    from qlaunch.host.rom import faults, read_rom  # noqa: PLC0415 - few cards need one

    data = wish.facts.tree.data(path)
    if data is None:
        yield Problem(code="no-rom", key=key, message=f"{path} does not exist", hint="qlaunch rom dump, or correct it")
        return
    images = read_rom(data)
    if not images:
        yield Problem(code="no-rom", key=key, message=f"{path} is no ROM: it holds no image", hint="qlaunch rom dump")
    elif images[0].offset:
        message = f"{path} has {images[0].offset} bytes of something else before its first image"
        yield Problem(code="no-rom", key=key, message=message, hint=f"qlaunch rom trim {path} FILE.rom")
    for fault in faults(images, device.id):
        yield Problem(code="odd-rom", key=key, message=f"{path}: {fault}", severity="warning")
