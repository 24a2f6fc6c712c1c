"""Keyboards, mice and other event devices, with the names under which they stay the same.

Source: ``Documentation/input/input.rst`` of the kernel; the links of ``/dev/input/by-id`` are made by udev
(``60-persistent-input.rules``), whose names end in ``-event-kbd``, ``-event-mouse``, ``-event-joystick`` or ``-event``.
"""

from typing import Literal

import msgspec

from qlaunch.host.pci import last_pci_address
from qlaunch.host.tree import Tree, whole_number
from qlaunch.values.pci import PciAddress

InputKind = Literal["keyboard", "mouse", "joystick", "other"]

_SUFFIXES: tuple[tuple[str, InputKind], ...] = (
    ("-event-kbd", "keyboard"),
    ("-event-mouse", "mouse"),
    ("-event-joystick", "joystick"),
)


class EventDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One /dev/input/eventN."""

    event: str
    """``/dev/input/event3``; the number changes from boot to boot."""
    name: str | None = None
    by_id: tuple[str, ...] = ()
    """Full paths, which a machine file may name."""
    by_path: tuple[str, ...] = ()
    kind: InputKind = "other"
    usb_port: str | None = None
    controller: PciAddress | None = None


def read_inputs(tree: Tree) -> tuple[EventDevice, ...]:
    """Read every event device, in the order of its number."""
    ids, paths = _links(tree, "by-id"), _links(tree, "by-path")
    names = [name for name in tree.listdir("/sys/class/input") if name.startswith("event")]
    return tuple(
        _device(tree, name, ids.get(name, ()), paths.get(name, ()))
        for name in sorted(names, key=lambda name: whole_number(name[5:]) or 0)
    )


def _links(tree: Tree, kind: str) -> dict[str, tuple[str, ...]]:
    """Give the links below a folder by the event device that they lead to."""
    folder = f"/dev/input/{kind}"
    found: dict[str, tuple[str, ...]] = {}
    for name in tree.listdir(folder):
        event = tree.linked_name(f"{folder}/{name}")
        if event and event.startswith("event"):
            found[event] = (*found.get(event, ()), f"{folder}/{name}")
    return found


def _device(tree: Tree, name: str, by_id: tuple[str, ...], by_path: tuple[str, ...]) -> EventDevice:
    link = tree.readlink(f"/sys/class/input/{name}")
    return EventDevice(
        event=f"/dev/input/{name}",
        name=tree.label(f"/sys/class/input/{name}/device/name"),
        by_id=by_id,
        by_path=by_path,
        kind=_kind((*by_id, *by_path)),
        usb_port=_usb_port(link),
        controller=last_pci_address(link),
    )


def _kind(links: tuple[str, ...]) -> InputKind:
    return next((kind for link in links for suffix, kind in _SUFFIXES if link.endswith(suffix)), "other")


def _usb_port(link: str | None) -> str | None:
    """Give the name before the first interface in ``…/usb1/1-2/1-2:1.0/…``."""
    parts = (link or "").split("/")
    return next((part.partition(":")[0] for part in parts if ":" in part and "-" in part.partition(":")[0]), None)
