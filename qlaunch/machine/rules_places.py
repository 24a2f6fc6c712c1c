"""Rules of places in the guest that the file names: controllers, bridges, PCI addresses, and NUMA cells.

Source: ``hw/i386/pc_q35.c`` and ``hw/i386/pc_piix.c`` (what the boards have in slots 0, 1 and 0x1f),
``hw/core/numa.c`` (memory and CPUs of the cells).
"""

from collections.abc import Iterator

import msgspec

from qlaunch.errors import Problem
from qlaunch.machine.model import Machine
from qlaunch.machine.rule import board_of, fault, repeated
from qlaunch.values.guest import GuestAddress
from qlaunch.values.size import Size

_BUILT_IN = {"q35": ("00.", "1f."), "pc": ("00.", "01.0", "01.1", "01.3")}
# Of how many controllers devices speak by number.
_NUMBERED = {"scsi": "scsi", "usb": "usb", "sata": "ahci", "virtio-serial": "virtio-serial"}


def _addresses(machine: Machine) -> Iterator[tuple[str, GuestAddress]]:
    """Yield every address in the file with its key."""
    for name in machine.__struct_fields__:
        value = getattr(machine, name)
        sections = enumerate(value) if isinstance(value, list) else [(None, value)]
        for number, section in sections:
            if isinstance(section, msgspec.Struct):
                at = name if number is None else f"{name}.{number}"
                for field in section.__struct_fields__:
                    if isinstance(address := getattr(section, field), GuestAddress):
                        yield f"{at}.{field}", address
    for number, port in enumerate(machine.machine.root_ports):
        yield f"machine.root_ports.{number}", port


def addresses_differ(machine: Machine) -> Iterator[Problem]:
    """One place holds one device; several functions of a host's card go up from theirs."""
    for key, other, address in repeated(_addresses(machine)):
        yield fault("address-twice", key, f"{address} is the place of {other} already", "give one of them another")


def addresses_are_free(machine: Machine) -> Iterator[Problem]:
    """The board keeps places for itself."""
    board = board_of(machine)
    for key, address in _addresses(machine):
        if address.startswith(_BUILT_IN[board]) and "/" not in address:
            message = f"{address} is a place of the {board} board's own"
            yield fault("address-taken", key, message, 'use another slot, such as "05.0"')
        if key.startswith("machine.root_ports") and ("/" in address or board == "pc"):
            yield fault("root-port", key, f"there is no root port at {address}", "root ports sit on the board of q35")


def a_place_is_said_one_way(machine: Machine) -> Iterator[Problem]:
    """``port`` counts qlaunch's own places."""
    for name in ("disk", "network", "pci", "share"):
        for number, section in enumerate(getattr(machine, name)):
            if section.port is not None and section.address is not None:
                message = "stands beside address, and a device has one place"
                yield fault("place-both", f"{name}.{number}.port", message, "take one of them out")


def controllers_are_there(machine: Machine) -> Iterator[Problem]:
    """A device that names the number of a controller needs one of that number."""
    kinds = [controller.kind for controller in machine.controller]
    devices = [("disk", n, disk.on_bus, disk.controller) for n, disk in enumerate(machine.disk)]
    devices += [("usb", n, "usb", stick.controller) for n, stick in enumerate(machine.usb)]
    devices += [("input", n, one.bus, one.controller) for n, one in enumerate(machine.input)]
    ports = (("channel", n, one) for n, one in enumerate(machine.channel) if one.kind in ("port", "console"))
    devices += [(name, n, "virtio-serial", one.controller) for name, n, one in ports]
    for name, number, bus, wanted in devices:
        kind = _NUMBERED.get(bus)
        there = kinds.count(kind) + (1 if bus == "sata" else 0)
        if wanted and kind and wanted >= max(there, 1):
            message = f"there is no {bus} controller {wanted}, counted from 0"
            yield fault(
                "no-controller", f"{name}.{number}.controller", message, "add [[controller]], or leave this out"
            )
    for number, controller in enumerate(machine.controller):
        known = {thread.name for thread in machine.iothread}
        if controller.iothread is not None and controller.iothread not in known:
            message = f'there is no [[iothread]] named "{controller.iothread}"'
            yield fault("no-iothread", f"controller.{number}.iothread", message, "add one, or leave this out")


def drives_have_a_place_each(machine: Machine) -> Iterator[Problem]:
    """Two drives at one place of a bus: QEMU refuses the second."""
    places = []
    for number, disk in enumerate(machine.disk):
        if disk.on_bus == "sata" and disk.unit is not None:
            places.append((f"disk.{number}.unit", ("sata", disk.controller, disk.unit, 0)))
        elif disk.on_bus == "scsi":
            target = number if disk.target is None else disk.target
            places.append((f"disk.{number}", ("scsi", disk.controller, target, disk.unit or 0)))
    for key, other, _ in repeated(places):
        yield fault("drive-twice", key, f"is the place of {other.removesuffix('.unit')} already", "give each its own")


def cells_have_the_memory(machine: Machine) -> Iterator[Problem]:
    """The sizes of the cells add up to the whole, and each vCPU is in one cell."""
    cells = machine.memory.cell
    if not cells:
        return
    total = Size(sum(cell.size for cell in cells))
    if total != machine.memory.size:
        message = f"have {total} together, and memory.size is {machine.memory.size}"
        yield fault("cells", "memory.cell", message, f'write size = "{total}" in [memory]')
    vcpus = machine.cpu.shape().vcpus
    named = [(f"memory.cell.{number}.cpus", cpu) for number, cell in enumerate(cells) for cpu in sorted(cell.cpus)]
    for key, other, cpu in repeated(named):
        yield fault("cells", key, f"vCPU {cpu} is in {other.removesuffix('.cpus')} already", "put each into one cell")
    if beyond := sorted({cpu for _, cpu in named if cpu >= vcpus}):
        yield fault("cells", "memory.cell", f"there is no vCPU {beyond[0]}: the machine has {vcpus}", "correct cpus")


RULES = (
    *(addresses_differ, addresses_are_free, a_place_is_said_one_way, controllers_are_there),
    *(drives_have_a_place_each, cells_have_the_memory),
)
