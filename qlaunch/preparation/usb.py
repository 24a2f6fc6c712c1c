"""USB devices that go to the guest: taken from the host's drivers, and what stands against giving them away."""

from collections.abc import Iterator

from qlaunch.devices.board import process_name
from qlaunch.devices.usb import Usb
from qlaunch.errors import Problem
from qlaunch.host.facts import HostFacts
from qlaunch.host.permissions import may_open
from qlaunch.host.usb import UsbDevice
from qlaunch.preparation.wish import Wish
from qlaunch.steps.step import Step
from qlaunch.steps.usb import step_for

_SEE = "see: qlaunch groups"


def steps(wish: Wish) -> Iterator[Step]:
    """Yield the hand-over of each device that is plugged in; the others are waited for."""
    for usb in wish.machine.usb:
        for device in meant(wish, usb)[:1]:
            yield step_for(device)


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield devices that are not there, not clearly one, or the host's own."""
    for number, usb in enumerate(wish.machine.usb):
        key = f"usb.{number}.{'id' if usb.id else 'at'}"
        devices = meant(wish, usb)
        if not devices:
            yield from _absent(wish, usb, key)
        elif len(devices) > 1:
            ports = ", ".join(device.port for device in devices)
            hint = f'say which: at = "{devices[0].port}"'
            message = f"{len(devices)} devices are {usb.id}: at {ports}"
            yield Problem(code="usb-twins", key=key, message=message, hint=hint)
        else:
            yield from unfit(wish.facts, wish.name, devices[0], key)


def meant(wish: Wish, usb: Usb) -> list[UsbDevice]:
    """Give the devices that a section describes."""
    return [device for device in wish.facts.usb if device.is_meant(usb.id, usb.at)]


def _absent(wish: Wish, usb: Usb, key: str) -> Iterator[Problem]:
    if usb.optional:
        return
    there = next((device for device in wish.facts.usb if usb.at == device.port), None)
    if there and usb.id:
        elsewhere = [device.port for device in wish.facts.usb if device.id == usb.id]
        hint = f'it is at {", ".join(elsewhere)} now: write at = "{elsewhere[0]}"' if elsewhere else _SEE
        yield Problem(code="identity", key=key, message=f"{usb.at} has {there}, and not {usb.id}", hint=hint)
        return
    message = f"no USB device {usb.id or f'at {usb.at}'} is plugged in"
    yield Problem(code="no-usb", key=key, message=message, hint="plug it in, or say optional = true")


def unfit(facts: HostFacts, machine: str, device: UsbDevice, key: str = "") -> Iterator[Problem]:
    """Yield why a device that is plugged in cannot be given to a machine."""
    if device.hub:
        hint = "name the devices that are plugged into it"
        yield Problem(code="usb-hub", key=key, message=f"{device} is a hub, which no guest can have", hint=hint)
        return
    disks = [disk for disk in facts.blocks.devices if _hangs_on(facts, "block", disk.name, device)]
    uses = sorted({use.kind for disk in disks for use in disk.uses if use.in_use})
    if uses:
        message = f"{device} is a disk that this host uses: {', '.join(uses)}"
        yield Problem(code="own-disk", key=key, message=message, hint="unmount it first")
    routes = [link.name for link in facts.network.links if link.default_route]
    links = [name for name in routes if _hangs_on(facts, "net", name, device)]
    if links:
        message = f"{device} is this host's way to the network ({', '.join(links)})"
        yield Problem(code="own-network", key=key, message=message, hint="take it out of [[usb]]")
    if "usbfs" in device.drivers:
        yield from _held(facts, machine, device, key)
    if may_open(facts.tree, device.node, None) is False:
        hint = f'run as root, or let a udev rule say: ATTRS{{idVendor}}=="{device.id[:4]}", TAG+="uaccess"'
        message = f"you may not open {device.node} ({device})"
        yield Problem(code="no-access", key=key, message=message, hint=hint)


def _held(facts: HostFacts, machine: str, device: UsbDevice, key: str) -> Iterator[Problem]:
    """Name the programs that have claimed a device; this machine's own QEMU is one that is to be taken over."""
    holders = [holder for holder in facts.holders.found if holder.path == device.node]
    if holders and all(holder.name == process_name(machine) for holder in holders):
        return
    by = ", ".join(f"{holder.name} (process {holder.pid})" for holder in holders)
    message = f"{device} is in use{f' by {by}' if by else ''}"
    yield Problem(code="held", key=key, message=message, hint="end that program first")


def _hangs_on(facts: HostFacts, kind: str, name: str, device: UsbDevice) -> bool:
    return f"/{device.port}/" in (facts.tree.readlink(f"/sys/class/{kind}/{name}") or "")
