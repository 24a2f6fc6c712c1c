"""Controllers that libvirt adds by itself for devices that need one, where other devices have addresses to keep.

Source: libvirt's ``src/conf/domain_conf.c``, ``virDomainDefAddImplicitControllers``; ``src/qemu/qemu_domain.c``,
``qemuDomainDefaultSCSIControllerModel``.
"""

from typing import Any

from qlaunch.libvirt.import_draft import Draft
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_MOST_SCSI = 16
# Controllers on which a disk has a place of its own by its target alone.
_BY_TARGET = ("lsi", "pvscsi")
_SCSI = {"virtio-scsi", "lsi", "megasas", "pvscsi"}
_USB = {"xhci", "nec-xhci", "ehci", "ich9-usb", "uhci"}


def implicit(draft: Draft, places: Places) -> None:
    """Add what is missing; a machine without any address has qlaunch's own controllers at their own places."""
    named = {row["type"] for row in draft.tables.get("controller", [])}
    wanted = []
    if _needs_serial(draft) and "virtio-serial" not in named:
        wanted.append("virtio-serial")
    usb = "xhci" if places.on_q35 else "uhci"
    if _needs_usb(draft) and not named & _USB:
        wanted.append(usb)
    scsi = _missing_scsi(draft)
    wanted += scsi
    keeps = places.gives() or bool(scsi)
    said = any(node.tag == "controller" and node.get("type") == "usb" for node in places.devices.children)
    if keeps and not said and usb not in wanted:
        wanted.append(usb)  # libvirt adds one where nothing is said
    for kind in wanted:
        if keeps:
            holder = Node("controller", {}, None, places.devices.line, places.devices.column)
            row, _ = draft.add(places.devices, "controller", type=kind)
            places.claim(holder, row, must=True, usual="01.2" if kind == "uhci" else "")
    _by_target(draft)
    _without_hubs(draft, places)


def _missing_scsi(draft: Draft) -> list[str]:
    """Give the controllers up to the last one that a disk names, of the kind of the first."""
    kinds = [row["type"] for row in _rows(draft, "controller") if row["type"] in _SCSI]
    numbers = [disk.get("controller", 0) for disk in _rows(draft, "disk") if disk.get("bus") == "scsi"]
    wanted = max((number for number in numbers if number < _MOST_SCSI), default=-1) + 1
    return [kinds[0] if kinds else "lsi"] * (wanted - len(kinds))


def _by_target(draft: Draft) -> None:
    """Move the number of a disk to its target, as libvirt does where a controller knows no units."""
    kinds = [row["type"] for row in _rows(draft, "controller") if row["type"] in _SCSI]
    for disk in _rows(draft, "disk"):
        number = disk.get("controller", 0)
        if disk.get("bus") == "scsi" and number < len(kinds) and kinds[number] in _BY_TARGET and not disk["target"]:
            disk["target"], disk["unit"] = disk["unit"], 0


def _without_hubs(draft: Draft, places: Places) -> None:
    """Let devices behind a hub have any port: the hub itself is not there."""
    for section, key in (("disk", "usb_port"), ("usb", "port"), ("input", "port"), ("channel", "port")):
        for number, row in enumerate(_rows(draft, section)):
            if "." in str(row.get(key, "")):
                del row[key]
                node = draft.keys.get((section, number), places.devices)
                draft.differs(node, "is behind a hub, and gets a free port of the controller", (section, number))


def _rows(draft: Draft, section: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = draft.tables.get(section, [])
    return rows


def _needs_serial(draft: Draft) -> bool:
    ports = any(row.get("kind", "port") in ("port", "console") for row in _rows(draft, "channel"))
    display = draft.tables.get("display", {})
    viewer = display.get("type") in ("spice", "gtk") and display.get("agent", True)
    return bool(ports or viewer or draft.tables.get("agent", {}).get("enabled"))


def _needs_usb(draft: Draft) -> bool:
    display = draft.tables.get("display", {})
    tablet = display.get("tablet", display.get("type", "none") != "none")
    inputs = any(row.get("bus", "usb") == "usb" for row in _rows(draft, "input"))
    serial = any(row.get("kind") == "usb" for row in _rows(draft, "channel"))
    sound = draft.tables.get("audio", {}).get("card") == "usb"
    sticks = _rows(draft, "usb")
    return bool(
        tablet or inputs or serial or sound or sticks or _on_bus(draft, "usb") or display.get("usb_redirection")
    )


def _on_bus(draft: Draft, bus: str) -> bool:
    return any(row.get("bus") == bus for row in _rows(draft, "disk"))


def common_parts(draft: Draft, places: Places) -> None:
    """Read what any device may have, of those that some theme has read."""
    for device in places.devices.children:
        if not device.seen:
            continue
        for child in device.children:
            if child.seen:
                continue
            if child.tag == "alias":
                draft.idle(child, "libvirt's own name")
            elif child.tag == "acpi":
                draft.lost(child, "the guest's numbering of its devices has no key here")
            elif child.tag == "address":
                draft.idle(child, "it has no place of its own here")
            elif child.tag == "driver":
                draft.lost(child, "this tuning of a virtio device has no key here")
