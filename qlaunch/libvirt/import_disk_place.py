"""Where a disk sits on a bus that is not PCI: SATA, SCSI or USB.

Source: libvirt's ``docs/formatdomain.rst``, "Device Addresses": of type drive and usb; ``src/conf/domain_conf.c``,
``virDomainDiskDefAssignAddress`` (where a disk without an address goes: by the letter of its target).
"""

from qlaunch.libvirt.import_draft import Draft, Table
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places


def drive_place(draft: Draft, places: Places, node: Node, row: Table, bus: str) -> None:
    """Read the place, or take the one that libvirt gives by the letter of the target."""
    address = node.one("address")
    if row.get("bus") == "usb":
        usb_place(draft, address, row, "usb_port")
        return
    numbers = {name: draft.number(address, name, 0, 16383) for name in ("controller", "bus", "target", "unit")}
    if address is not None:
        address.get("type")
    letter = letter_of(node)
    if row.get("bus") == "scsi":
        if address is None and letter is not None:
            numbers |= {"controller": letter // 7, "target": 0, "unit": letter % 7}
        row.update({"target": numbers["target"] or 0, "unit": numbers["unit"] or 0})
        row.update({"controller": numbers["controller"]} if numbers["controller"] else {})
    elif bus == "ide" and not places.on_q35:
        spot = (numbers["bus"] or 0) * 2 + (numbers["unit"] or 0) if address is not None else letter
        _sata(draft, row, spot, 4)
    elif bus == "sata" and places.on_q35:
        spot = numbers["unit"] if address is not None else letter
        controller = numbers["controller"] or 0
        _sata(draft, row, spot, 6)
        if controller and "unit" in row:
            row["controller"] = controller
    elif bus == "sata" and (numbers["controller"] or 0) < _ahci(draft):
        row["controller"] = (numbers["controller"] or 0) + 1
        row["unit"] = numbers["unit"] if numbers["unit"] is not None else (letter or 0)
    elif bus == "sata":
        draft.differs(node, "is on SATA, which a pc board has not; IDE takes its place", ("disk",))
    else:
        draft.differs(node, f"a disk on {bus} goes to SATA, which this board has", ("disk",))


def _ahci(draft: Draft) -> int:
    """Count the AHCI controllers beside what the board has."""
    return sum(one["type"] == "ahci" for one in draft.tables.get("controller", []))


def usb_place(draft: Draft, address: Node | None, row: Table, key: str = "port") -> None:
    """Read controller and port of a USB device."""
    if address is None:
        return
    if address.get("type") not in ("usb", None):
        draft.idle(address, "a place that is not on the USB bus")
        return
    controller, port = draft.number(address, "bus", 0, 31), address.get("port")
    if controller:
        row["controller"] = controller
    if port:
        row[key] = port


def _sata(draft: Draft, row: Table, spot: int | None, limit: int) -> None:
    """Write a place on the built-in controller, unless it is taken or beyond the last one."""
    others = [one for one in draft.tables["disk"] if one is not row and not one.get("controller")]
    taken = {one.get("unit") for one in others if one.get("bus") == "sata" or one.get("media") == "cdrom"}
    if spot is None or spot >= limit or spot in taken:
        spot = next((number for number in range(limit) if number not in taken), None)
    if spot is not None:
        row["unit"] = spot


def letter_of(node: Node) -> int | None:
    """Give the number of a disk by its target: sda is 0, sdb is 1."""
    target = next((child for child in node.children if child.tag == "target"), None)
    name = (target.attributes.get("dev") or "")[2:] if target else ""
    if not (name.isascii() and name.isalpha() and name.islower() and len(name) <= 2):
        return None
    number = 0
    for letter in name:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1
