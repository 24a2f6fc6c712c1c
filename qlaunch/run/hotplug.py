"""The devices that come and go while a guest runs: plugged in when they are there, out when they are pulled.

What is wanted is compared with what is there, at the start and after every word of the kernel or of udev. So nothing
depends on reading events right, on their order, or on having heard them all.

Owns: USB devices and event devices of a running QEMU. Must not: know PCI devices, or the machine file.
"""

import os
from collections.abc import Callable
from contextlib import suppress

import msgspec
import trio

from qlaunch.duty import Plugged, UsbDuty
from qlaunch.errors import CommandError, HostError, MonitorError, QlaunchError
from qlaunch.run.launch import Running
from qlaunch.run.plug import EvdevPlug, Place, Plug, UsbPlug
from qlaunch.run.qmp import Monitor
from qlaunch.run.uevents import open_uevents

# Ports of the controller for what is attached by hand, from behind, where the machine file's own end last.
_FREE_PORTS = range(15, 11, -1)


class Hotplug:
    """What one running machine has, and waits for."""

    def __init__(self, running: Running, say: Callable[[str], None]) -> None:
        duty = running.record.duty
        self._running = running
        self._say = say
        self._plugs: list[Plug] = [*map(UsbPlug, duty.usb), *map(EvdevPlug, duty.evdev)]
        self._given: dict[Plug, Place] = {}
        self._told: dict[Plug, str] = {}
        self._busy = trio.Lock()
        self._wanted = trio.Event()
        self._monitor: Monitor | None = None

    async def begin(self, monitor: Monitor) -> None:
        """Plug in what is there, before the guest runs. Raises HostError, MonitorError for one that it needs."""
        self._monitor = monitor
        if not self._plugs:
            return
        if not self._running.is_child:
            await self._recall(monitor)
        async with self._busy:
            for plug in self._plugs:
                await self._settle(plug, insist=self._running.is_child and not plug.optional)
        self._wanted.set()

    async def follow(self) -> None:
        """Follow what comes and goes until cancelled; does nothing as long as nothing is wanted."""
        await self._wanted.wait()
        with open_uevents(b"usb", b"input") as events:
            while True:
                async with self._busy:
                    for plug in list(self._plugs):
                        try:
                            await self._settle(plug)
                        except MonitorError as error:
                            # A QEMU that ends while it is asked is seen by those who wait for its end.
                            if not self._running.process.is_alive():
                                return
                            self._tell(plug, f"{plug.wish}: {error.message}; it is tried again at the next change")
                await events.wait()

    async def attach(self, device: Plugged) -> str:
        """Give one more USB device to the guest, for this run. Raises HostError, MonitorError."""
        monitor = self._ready()
        async with self._busy:
            if any(plug.duty.device == device for plug in self._usb()):
                raise HostError(f"the guest has, or waits for, the USB device {device} already")
            used = {plug.duty.arguments.get("port") for plug in self._usb()}
            port = next((port for port in map(str, _FREE_PORTS) if port not in used), None)
            if port is None:
                raise HostError("no port of the guest's USB controller is free for it", "detach one first")
            arguments: dict[str, str | int | bool] = {
                "driver": "usb-host",
                "id": f"usb-port{port}",
                "bus": "usb0.0",
                "port": port,
            }
            plug = UsbPlug(UsbDuty(device=device, optional=True, arguments=arguments))
            place = await trio.to_thread.run_sync(plug.find)
            if place is None:
                raise HostError(f"no USB device {device} is plugged in", "see: qlaunch groups")
            await self._give(monitor, plug, place)
            self._plugs.append(plug)
            self._note()
        self._wanted.set()
        return f"the guest has {place.name}"

    async def detach(self, device: Plugged) -> str:
        """Take a USB device from the guest, and give it back to the host. Raises HostError, MonitorError."""
        monitor = self._ready()
        async with self._busy:
            plug = next((plug for plug in self._usb() if self._is(plug, device)), None)
            if plug is None:
                known = ", ".join(str(plug.duty.device) for plug in self._usb()) or "none"
                raise HostError(f"the guest has no USB device {device}", f"it has: {known}")
            place = self._given.get(plug)
            left = await self._take(monitor, plug) if place else []
            self._plugs.remove(plug)
            self._note()
            if place and left:
                raise HostError(_not_given_back(place.name, left))
        return f"the host has {place.name if place else device} again"

    def _usb(self) -> list[UsbPlug]:
        return [plug for plug in self._plugs if isinstance(plug, UsbPlug)]

    def _is(self, plug: UsbPlug, device: Plugged) -> bool:
        """Whether somebody means this device: as the machine file names it, or as it is plugged in now."""
        place = self._given.get(plug)
        port, _, found = next(iter(place.step.claims), "").partition(" ") if place else ("", "", "")
        return plug.duty.device == device or (bool(place) and device.id in (None, found) and device.at in (None, port))

    def _ready(self) -> Monitor:
        if self._monitor is None:
            raise HostError("the machine is not up yet")
        return self._monitor

    def _note(self) -> None:
        """Put on disk what is wanted now, for whoever takes the machine over."""
        folder = self._running.folder
        record = folder.read() or self._running.record
        duty = msgspec.structs.replace(record.duty, usb=[plug.duty for plug in self._usb()])
        folder.write(msgspec.structs.replace(record, duty=duty))

    async def _recall(self, monitor: Monitor) -> None:
        """Find out what a QEMU that was taken over has: it holds the node of a device open, or it has lost it."""
        held = await trio.to_thread.run_sync(_held_nodes, self._running.process.pid)
        for plug in self._plugs:
            listed = await monitor.execute("qom-list", {"path": plug.container})
            names = [str(item["name"]) for item in msgspec.convert(listed, list[dict[str, object]])]
            if plug.qemu_id not in names:
                continue
            place = await self._find(plug)
            if place and place.node in held:
                self._given[plug] = place
            elif isinstance(plug, EvdevPlug):
                plug.rename(names)
            else:
                await plug.take(monitor)

    async def _settle(self, plug: Plug, *, insist: bool = False) -> None:
        """Bring one device to where it should be; what fails is told once. Raises only when ``insist`` says so."""
        try:
            place = await self._find(plug)
            if plug in self._given and not self._given[plug].is_same(place):
                await self._lose(plug, place)
            if place and plug not in self._given:
                await self._give(self._ready(), plug, place)
                if self._wanted.is_set():
                    self._say(f"{place.name} is plugged in, and the guest has it")
        except (HostError, CommandError) as error:
            if insist:
                raise HostError(f"{plug.wish}: {error.message}", error.hint) from error
            self._tell(plug, f"{plug.wish}: {error.message}")
            return
        if place is None and insist:
            raise HostError(f"{plug.wish} is not plugged in", "plug it in, or say optional = true")

    async def _lose(self, plug: Plug, place: Place | None) -> None:
        name = self._given[plug].name
        left = await self._take(self._ready(), plug)
        if left:
            self._say(_not_given_back(name, left))
        if place is None:
            self._say(f"{name} was unplugged; the guest gets it again when it is back")

    async def _find(self, plug: Plug) -> Place | None:
        return await trio.to_thread.run_sync(plug.find)

    async def _give(self, monitor: Monitor, plug: Plug, place: Place) -> None:
        changes, (key,) = self._running.changes, place.step.claims
        if any(other.step.kind == place.step.kind and key in other.step.claims for other in self._given.values()):
            raise HostError(f"the guest has {place.name} already")
        try:
            if not changes.holds(place.step.kind, key):
                await trio.to_thread.run_sync(changes.make, [place.step])
            await plug.give(monitor, place)
        except (QlaunchError, OSError) as error:
            if isinstance(error, MonitorError) and not isinstance(error, CommandError):
                with suppress(MonitorError):  # it did not answer: it may get the device late
                    await plug.take(monitor)
            await trio.to_thread.run_sync(changes.undo_of, place.step.kind, [key])
            if isinstance(error, OSError):
                raise HostError(f"{place.node}: {os.strerror(error.errno or 0).lower()}") from error
            raise
        self._given[plug] = place
        self._told.pop(plug, None)

    async def _take(self, monitor: Monitor, plug: Plug) -> list[str]:
        place = self._given[plug]
        await plug.take(monitor)
        del self._given[plug]
        undo = self._running.changes.undo_of
        return await trio.to_thread.run_sync(undo, place.step.kind, list(place.step.claims))

    def _tell(self, plug: Plug, sentence: str) -> None:
        if self._told.get(plug) != sentence:
            self._told[plug] = sentence
            self._say(sentence)


def _not_given_back(name: str, left: list[str]) -> str:
    return f"{name} is not the host's again: {'; '.join(left)}"


def _held_nodes(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    found = set()
    try:
        names = os.listdir(folder)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise HostError(f"cannot see what QEMU (pid {pid}) has open: {reason}") from error
    for name in names:
        try:
            found.add(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
    return found
