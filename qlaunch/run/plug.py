"""One device that a guest has whenever it is plugged in: where it is now, how QEMU gets it, how QEMU loses it.

Source: QEMU's ``docs/interop/qemu-qmp-ref`` (device_add, object-add, add-fd), ``hw/usb/host-libusb.c`` (hostdevice),
``ui/input-linux.c``: a device that is pulled is closed there at once, and once more by object-del. So that is sent at
once, before anything else can have got the same descriptor.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import msgspec
import trio

from qlaunch.duty import EvdevDuty, UsbDuty
from qlaunch.errors import CommandError, HostError
from qlaunch.host.account import name_of
from qlaunch.host.permissions import what_lacks
from qlaunch.host.tree import Tree
from qlaunch.host.usb import UsbDevice, read_usb
from qlaunch.run.grab import insist_on_grab
from qlaunch.run.qmp import Monitor
from qlaunch.steps import input as input_step, usb as usb_step
from qlaunch.steps.owner import claim_for
from qlaunch.steps.step import Step


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a device is: its node, which is another one after every plugging in, its name for people, its step."""

    node: str
    inode: int
    name: str
    step: Step

    def is_same(self, other: "Place | None") -> bool:
        """Whether a device is still the one that was plugged in then."""
        return other is not None and (self.node, self.inode) == (other.node, other.inode)


class Plug(Protocol):
    """What the supervisor knows of one device."""

    wish: str
    optional: bool
    qemu_id: str
    container: str

    def find(self) -> Place | None:
        """Look where it is; None where it is not plugged in. Raises HostError, OSError."""

    async def give(self, monitor: Monitor, place: Place) -> None:
        """Let QEMU have it, once its step was made. Raises HostError, OSError, MonitorError."""

    async def take(self, monitor: Monitor) -> None:
        """Let QEMU lose it. Raises MonitorError."""


class UsbPlug:
    """A USB device, which QEMU gets as an open file."""

    container = "/machine/peripheral"

    def __init__(self, duty: UsbDuty) -> None:
        self.duty = duty
        self.wish = f"the USB device {duty.device}"
        self.optional = duty.optional
        self.qemu_id = duty.qemu_id

    def find(self) -> Place | None:
        """See Plug. Raises HostError where it is not clear which one is meant."""
        wanted = self.duty.device
        found = [device for device in read_usb(Tree()) if device.is_meant(wanted.id, wanted.at)]
        if len(found) > 1:
            ports = ", ".join(device.port for device in found)
            raise HostError(f"{len(found)} USB devices are {wanted.id}: at {ports}", f'say at = "{found[0].port}"')
        return _place(found[0]) if found else None

    async def give(self, monitor: Monitor, place: Place) -> None:
        """See Plug."""
        descriptor = await trio.to_thread.run_sync(_open, place)
        try:
            number = await monitor.lend(descriptor)
        finally:
            os.close(descriptor)
        try:
            await monitor.execute("device_add", {**self.duty.arguments, "hostdevice": f"/dev/fdset/{number}"})
        finally:
            # QEMU has a copy of its own by now, or none at all.
            await monitor.execute("remove-fd", {"fdset-id": number})

    async def take(self, monitor: Monitor) -> None:
        """See Plug."""
        with suppress(CommandError):  # it is not there
            await monitor.execute("device_del", {"id": self.qemu_id})


class EvdevPlug:
    """A keyboard or mouse, which QEMU opens and grabs by itself."""

    container = "/objects"

    def __init__(self, duty: EvdevDuty) -> None:
        self.duty = duty
        self.wish = duty.path
        self.optional = duty.optional
        self.qemu_id = duty.qemu_id

    def find(self) -> Place | None:
        """See Plug."""
        path, node = self.duty.path, os.path.realpath(self.duty.path)
        inode = _inode(node)
        step = input_step.step_for(path, node, self._claim(node))
        return Place(node=node, inode=inode, name=path, step=step) if inode else None

    async def give(self, monitor: Monitor, place: Place) -> None:
        """See Plug."""
        await trio.to_thread.run_sync(insist_on_grab, place.node)
        await monitor.execute("object-add", {**self.duty.arguments, "id": self.qemu_id})

    async def take(self, monitor: Monitor) -> None:
        """See Plug."""
        with suppress(CommandError):
            await monitor.execute("object-del", {"id": self.qemu_id})

    def _claim(self, node: str) -> str:
        """Give what QEMU's user lacks at this node, which is a new one after every plugging in."""
        tree, uid = Tree(), self.duty.user
        user = name_of(tree, uid) if uid else None
        claim = claim_for(what_lacks(tree, node, user), uid) if user and uid else None
        return claim or input_step.AS_IT_IS

    def rename(self, taken: Sequence[str]) -> None:
        """Leave a dead object of another supervisor's time alone: what it would close is somebody else's by now."""
        number = 2
        while (name := f"{self.duty.qemu_id}-{number}") in taken:
            number += 1
        self.qemu_id = name


def _place(device: UsbDevice) -> Place | None:
    inode = _inode(device.node)
    return Place(node=device.node, inode=inode, name=str(device), step=usb_step.step_for(device)) if inode else None


def _inode(node: str) -> int | None:
    try:
        return os.stat(node).st_ino
    except OSError:
        return None


def _open(place: Place) -> int:
    """Open a USB device; waits for a kernel that is still making its acquaintance. Raises HostError."""
    try:
        return os.open(place.node, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError as error:
        hint = 'run as root, or let a udev rule say TAG+="uaccess" for it'
        raise HostError(f"{place.node} may not be opened", hint) from error
