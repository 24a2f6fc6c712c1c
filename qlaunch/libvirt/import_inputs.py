"""Keyboards, mice and tablets, emulated and of the host.

Source: libvirt's ``docs/formatdomain.rst``, "Input devices".
"""

from qlaunch.libvirt.import_disk_place import usb_place
from qlaunch.libvirt.import_draft import Draft, shown
from qlaunch.libvirt.import_node import Node
from qlaunch.libvirt.import_places import Places

_TOGGLES = ("ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock")


def inputs(draft: Draft, places: Places) -> None:
    """Read every input device. The board has a PS/2 keyboard and mouse by itself."""
    for node in places.devices.each("input"):
        draft.idle(node.one("alias"), "libvirt's own name")
        kind, bus = node.get("type"), node.get("bus")
        draft.idle(node, "follows from the bus", "model")
        if kind == "evdev":
            _evdev(draft, node)
        elif bus == "ps2" or (bus is None and kind in ("mouse", "keyboard")):
            draft.idle(node.one("address"), "the board has it where it is")
        elif kind == "passthrough" and bus == "virtio":
            source = node.one("source")
            row, _ = draft.add(node, "input", type="host", bus="virtio", path=source.get("evdev") if source else None)
            places.claim(node, row)
        elif kind in ("tablet", "mouse", "keyboard") and bus in ("usb", "virtio", None):
            row, _ = draft.add(node, "input", type=kind, bus="virtio" if bus == "virtio" else None)
            if bus == "virtio":
                places.claim(node, row)
            else:
                usb_place(draft, node.one("address"), row)
            draft.lost(node.one("driver"), "this tuning of a virtio device has no key here")
        else:
            node.close()
            draft.asks(node, f'"{shown(kind or "")}" on "{shown(bus or "")}" has no key here; left out', ("input",))


def _evdev(draft: Draft, node: Node) -> None:
    source = node.one("source")
    path = source.get("dev") if source else None
    if not path:
        draft.asks(node, "names no device of the host; left out", ("evdev",))
        node.close()
        return
    row, _ = draft.add(node, "evdev", path=path)
    if draft.choice(source, "grab", {"all": True}):
        row["grab_all"] = True
    if draft.flag(source, "repeat"):
        row["repeat"] = True
    toggle = draft.choice(source, "grabToggle", {name: name for name in _TOGGLES})
    if toggle and toggle != "ctrl-ctrl":
        row["grab_toggle"] = toggle
