"""Devices of the host: PCI functions, mediated devices, USB; and USB over SPICE.

Source: libvirt's ``docs/formatdomain.rst``, "Host device assignment", "Redirected devices".
"""

import re

from qlaunch.libvirt.import_disk_place import usb_place
from qlaunch.libvirt.import_draft import Draft, Table, integer, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Claim, Places
from qlaunch.values.guest import GuestAddress

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def hostdevs(draft: Draft, places: Places) -> None:
    """Read them all; functions of one card that stand together in the guest become one table."""
    cards: list[tuple[Table, Claim, int]] = []
    for number, node in enumerate(places.devices.each("hostdev")):
        alias = alias_of(draft, node, f"hostdev{number}")
        kind = node.get("type")
        for tag in ("readonly", "shareable"):
            draft.idle(node.one(tag), "is for devices of a SCSI bus")
        if node.get("mode") not in (None, "subsystem"):
            draft.lost(node, "is for containers")
        elif kind == "pci":
            _pci(draft, places, node, cards)
            _note_alias(draft, "pci", alias)
        elif kind == "usb":
            _usb(draft, node)
        elif kind == "mdev":
            _mdev(draft, places, node)
        else:
            node.close()
            draft.asks(node, f'a host device of the type "{shown(kind or "")}" has no key here; left out', ("pci",))
    _join(draft, cards)
    count = 0
    for node in places.devices.each("redirdev"):
        count += _redirected(draft, node)
    if count:
        draft.set(places.devices, "display", "usb_redirection", min(count, 8))
    for node in places.devices.each("redirfilter"):
        draft.lost(node, "the viewer chooses which USB devices it sends")


def alias_of(draft: Draft, node: Node, usual: str) -> str:
    """Give the name by which other elements may speak of a device."""
    alias = node.one("alias")
    name = alias.get("name") if alias else None
    draft.idle(alias, "libvirt's own name")
    return (name or usual).removeprefix("ua-")


def _note_alias(draft: Draft, section: str, alias: str) -> None:
    rows = draft.tables.get(section)
    if rows:
        draft.aliases[alias] = (section, rows[-1])


def host_address(draft: Draft, address: Node | None) -> str | None:
    """Read a PCI address of the host's."""
    if address is None:
        return None
    address.get("type")
    parts = [integer(address.get(name) or "0") for name in ("domain", "bus", "slot", "function")]
    domain, bus, slot, function = (-1 if part is None else part for part in parts)
    if not (0 <= domain <= 0xFFFF and 0 <= bus <= 0xFF and 0 <= slot <= 0x1F and 0 <= function <= 7):
        draft.asks(address, "is no PCI address of the host")
        return None
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"


def _pci(draft: Draft, places: Places, node: Node, cards: list[tuple[Table, Claim, int]]) -> None:
    source = node.one("source")
    host = host_address(draft, source.one("address") if source else None)
    if host is None:
        node.close()
        draft.asks(node, "says no PCI address of the host; left out", ("pci",))
        return
    if source is not None:
        draft.idle(source, "follows from the device", "writeFiltering")
    row, key = draft.add(node, "pci", host=host.removeprefix("0000:"))
    if draft.flag(node, "managed") is False:
        message = "qlaunch itself takes the device from its driver and gives it back; libvirt left that to you"
        draft.differs(node, message, key, "managed")
    for driver in node.each("driver"):
        if driver.get("name") not in (None, "vfio"):
            draft.differs(driver, "VFIO is the one way to hand a device over", key, "name")
        if draft.flag(driver, "iommufd"):
            draft.set(driver, "host", "iommu_backend", "iommufd")
        draft.lost(driver, "the driver of the host's side has no key here", "model")
    _rom(draft, node.one("rom"), row)
    boot = node.one("boot")
    draft.idle(boot, "is for s390", "loadparm") if boot is not None else None
    row.update({name: value for name, value in (("boot_index", draft.number(boot, "order", 1, 1 << 30)),) if value})
    for tag, reason in (("teaming", "for moving running guests"), ("acpi", "the guest's numbering of cards")):
        draft.lost(node.one(tag), f"has no key here: {reason}")
    places.claim(node, row)
    cards.append((row, places.claims[-1], key[1] if isinstance(key[1], int) else 0))


def _rom(draft: Draft, rom: Node | None, row: Table) -> None:
    if rom is None:
        return
    enabled, bar, file = draft.flag(rom, "enabled"), draft.flag(rom, "bar"), rom.get("file")
    if enabled is False or bar is False:
        row["rom_bar"] = False
        if file:
            draft.differs(rom, "the file is left out, since the guest does not see it", ("pci",), "file")
    else:
        if bar:
            row["rom_bar"] = True
        if file:
            row["rom"] = file


def _join(draft: Draft, cards: list[tuple[Table, Claim, int]]) -> None:
    """Write functions of one slot as one table, where the guest has them in one slot too, in their order."""
    groups: dict[tuple[str, str], list[tuple[Table, Claim]]] = {}
    for row, claim, _ in cards:
        if claim.address is not None:
            groups.setdefault((row["host"].partition(".")[0], claim.address[:-2]), []).append((row, claim))
    for (slot, _), members in groups.items():
        members.sort(key=lambda member: str(member[1].address))
        functions = [int(row["host"][-1]) for row, _ in members]
        places = [claim.address.function for _, claim in members if claim.address]
        bar = members[0][0].get("rom_bar")
        plain = all(set(row) - {"rom_bar"} == {"host"} and row.get("rom_bar") in (None, bar) for row, _ in members[1:])
        if len(members) > 1 and places == list(range(len(members))) and functions == sorted(functions) and plain:
            first = members[0][0]
            first["host"], first["functions"] = slot, functions
            for row, claim in members[1:]:
                row["joined"] = True
                claim.key = ""
    rows = draft.tables.get("pci", [])
    for number in reversed(range(len(rows))):
        if rows[number].get("joined"):
            draft.close_row(("pci", number))


def _usb(draft: Draft, node: Node) -> None:
    source = node.one("source")
    vendor, product = (source.one(tag) if source else None for tag in ("vendor", "product"))
    address = source.one("address") if source else None
    row, key = draft.add(node, "usb")
    numbers = [draft.number(part, "id", 0, 0xFFFF) for part in (vendor, product)]
    bus, device = draft.number(address, "bus", 0, 255), draft.number(address, "device", 0, 255)
    port = address.get("port") if address else None
    if None not in numbers:
        row["id"] = f"{numbers[0]:04x}:{numbers[1]:04x}"
        if address is not None:
            message = f"every device with the id {row['id']} fits; libvirt named the one at bus {bus}, device {device}"
            draft.differs(node, message, key)
    elif bus is not None and port:
        row["at"] = f"{bus}-{port}"
    else:
        draft.tables["usb"].pop()
        where = f"bus {bus}, device {device}" if bus is not None else "nothing"
        message = f"names {where}, a number that changes with each plugging; write id or at in [[usb]]; see lsusb"
        draft.asks(node, message, ("usb",))
        node.close()
        return
    if source is not None:
        draft.idle(source, "what happens when it is missing", "startupPolicy")
        if draft.flag(source, "guestReset") is False or source.get("guestReset") == "off":
            row["guest_reset"] = False
    node.get("managed")
    boot = node.one("boot")
    draft.idle(boot, "is for s390", "loadparm") if boot is not None else None
    row.update({name: value for name, value in (("boot_index", draft.number(boot, "order", 1, 1 << 30)),) if value})
    usb_place(draft, node.one("address"), row)


def _mdev(draft: Draft, places: Places, node: Node) -> None:
    """Write a mediated device as QEMU's own option: the machine file has no word for it."""
    source = node.one("source")
    address = source.one("address") if source else None
    uuid = (address.get("uuid") or "").lower() if address else ""
    if node.get("model") not in (None, "vfio-pci") or not _UUID.fullmatch(uuid):
        node.close()
        draft.asks(node, "is no mediated device on the PCI bus; left out", ("qemu", "extra"))
        return
    draft.idle(node, "mediated devices have no driver of the host's to be taken from", "managed")
    draft.lost(node, "pictures of a mediated device have no key here", "display", "ramfb")
    place = node.one("address")
    guest = places.read(place) if place is not None and place.get("type") in ("pci", None) else None
    words = {"driver": "vfio-pci", "id": f"mdev-{uuid[:8]}", "sysfsdev": f"/sys/bus/mdev/devices/{uuid}"}
    draft.pass_on("-device", words | _spot(guest))
    boot = node.one("boot")
    if boot is not None:
        draft.lost(boot, "has no place in the boot order")


def _spot(address: GuestAddress | None) -> dict[str, str]:
    if address is None:
        return {}
    bus = f"at-{address.bridge.replace('/', '-')}" if address.bridge else None
    return ({"bus": bus} if bus else {}) | {"addr": f"{address.slot:#x}.{address.function:#x}"}


def _redirected(draft: Draft, node: Node) -> int:
    draft.idle(node.one("alias"), "libvirt's own name")
    draft.idle(node.one("address"), "a port of the guest's that QEMU chooses")
    if node.get("type") != "spicevmc" or node.get("bus") not in (None, "usb"):
        node.close()
        draft.asks(node, "only SPICE brings USB devices of the viewer", ("display", "usb_redirection"))
        return 0
    draft.lost(node.one("boot"), "has no place in the boot order")
    return 1
