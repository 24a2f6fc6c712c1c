"""PCI devices that a running guest is given, and gives back: a whole slot, with the host's side of it.

What the guest has is asked of QEMU and not remembered, so it does not matter who started it, or who plugged what.

Source: QEMU's ``hw/pci/pcie.c`` (the guest hears of a slot once its function 0 is there, and is asked to eject all of
it for any of its functions), ``qapi/qdev.json`` (device_del, DEVICE_DELETED, DEVICE_UNPLUG_GUEST_ERROR).
"""

import os
import resource
from collections.abc import Callable

import msgspec
import trio

from qlaunch.attachment import Attachment, pci_attachment
from qlaunch.errors import CommandError, HostError, QlaunchError
from qlaunch.host.facts import HostFacts
from qlaunch.host.vfio import IOMMU
from qlaunch.run.guest import Guest
from qlaunch.run.launch import Running
from qlaunch.run.qmp import Event
from qlaunch.steps.owner import DEVICE_OF, OF
from qlaunch.steps.step import Step
from qlaunch.values.pci import PciAddress

_PORTS = 4  # spare root ports, see devices/controllers.py
# A guest takes 5 s from the press of the attention button alone.
_EJECT_S = 60.0
_KINDS = ("owner", "pci-driver", "sysfs")  # the last one made is given back first


class PciPlugs:
    """Hand-overs of one running machine, one at a time."""

    def __init__(self, running: Running, guest: Callable[[], Guest | None]) -> None:
        self._running = running
        self._guest = guest
        self._busy = trio.Lock()

    async def attach(self, address: str) -> str:
        """Give a slot to the guest, for this run. Raises HostError, MonitorError."""
        guest = self._ready()
        async with self._busy:
            names = await _children(guest)
            given = await _given(guest, names)
            slot = PciAddress(address).slot
            if any(host.slot == slot for host in given.values()):
                raise HostError(f"the guest has {slot} already")
            port = next((number for number in range(_PORTS) if f"attached{number}-0" not in names), None)
            if port is None or f"rp-spare{port}" not in names:
                hint = "detach one of those that were attached" if port is None else 'only type = "q35" has some'
                raise HostError("no port of the guest's board is free for it", hint)
            duty = self._running.record.duty
            made = await trio.to_thread.run_sync(lambda: pci_attachment(duty, PciAddress(address), port, HostFacts()))
            for problem in made.problems:
                if problem.severity == "error":
                    raise HostError(problem.message, problem.hint)
            try:
                await trio.to_thread.run_sync(self._running.changes.make, self._not_made_yet(made.steps))
                self._allow_memory_lock(made.memory_lock)
                await _add_iommufd(guest, made)
                for device in reversed(made.devices):  # function 0 last
                    await guest.monitor.execute("device_add", device)
            except QlaunchError as error:
                await self._take_back(guest, made)
                if isinstance(error, CommandError):
                    raise HostError(f"{slot}: {error.message}", "see: qlaunch logs") from error
                raise
        return f"the guest has {made.name}"

    async def detach(self, address: str) -> str:
        """Ask the guest for a slot, wait until it has let go, give it to the host. Raises HostError, MonitorError."""
        guest = self._ready()
        async with self._busy:
            slot = PciAddress(address).slot
            given = await _given(guest, await _children(guest))
            ids = sorted(name for name, host in given.items() if host.slot == slot)
            if not ids:
                known = ", ".join(sorted({host.slot for host in given.values()})) or "none"
                raise HostError(f"the guest has no PCI device {slot}", f"it has: {known}")
            await _eject(guest, ids)
            left = await trio.to_thread.run_sync(self._undo, slot)
        if left:
            raise HostError(f"{slot} is not the host's again: {'; '.join(left)}")
        return f"the host has {slot} again"

    def _not_made_yet(self, steps: list[Step]) -> list[Step]:
        """Put what all devices share into a step of its own, once: it stays in force until the machine ends."""
        left = []
        for step in steps:
            own = {key: claim for key, claim in step.claims.items() if key != IOMMU}
            if own != step.claims and not self._running.changes.holds(step.kind, IOMMU):
                left.append(msgspec.structs.replace(step, claims={IOMMU: step.claims[IOMMU]}))
            if own:
                left.append(msgspec.structs.replace(step, claims=own))
        return left

    def _ready(self) -> Guest:
        guest = self._guest()
        if guest is None:
            raise HostError("the machine is not up yet")
        return guest

    def _undo(self, slot: PciAddress) -> list[str]:
        keys = [slot.at(function) for function in range(8)]
        paths = [f"/sys/bus/pci/devices/{key}/{name}" for key in keys for name in ("power/control", "reset_method")]
        undo = self._running.changes.undo_of
        every = [*keys, *(f"{of}{key}" for of in (OF, DEVICE_OF) for key in keys), *paths]
        return [said for kind in _KINDS for said in undo(kind, every)]

    async def _take_back(self, guest: Guest, made: Attachment) -> None:
        """Undo half an attachment: what the guest has not heard of yet goes at once."""
        with trio.CancelScope(shield=True):
            for device in made.devices:
                try:
                    await guest.monitor.execute("device_del", {"id": device["id"]})
                except QlaunchError:
                    continue
            slot = PciAddress(str(made.devices[0]["host"])).slot if made.devices else None
            if slot:
                await trio.to_thread.run_sync(self._undo, slot)

    def _allow_memory_lock(self, limit: int) -> None:
        """Let a QEMU that is not root pin the guest's memory: at its start it may have had no device for that."""
        if os.geteuid() == 0:
            pid = self._running.process.pid
            soft, hard = resource.prlimit(pid, resource.RLIMIT_MEMLOCK)
            if soft != resource.RLIM_INFINITY and soft < limit:
                top = hard if hard == resource.RLIM_INFINITY else max(hard, limit)
                resource.prlimit(pid, resource.RLIMIT_MEMLOCK, (limit, top))


async def _add_iommufd(guest: Guest, made: Attachment) -> None:
    """Add what the devices name, if the guest was started without any. Raises MonitorError."""
    named = {str(device["iommufd"]) for device in made.devices if "iommufd" in device}
    for name in named.difference(await _children(guest, "/objects") if named else ()):
        await guest.monitor.execute("object-add", {"qom-type": "iommufd", "id": name})


async def _eject(guest: Guest, ids: list[str]) -> None:
    """Ask for all functions of a slot, and wait for the guest. Raises HostError when it keeps them."""
    heard: list[trio.Event] = [trio.Event()]
    refused: list[str] = []

    def hear(event: Event) -> None:
        data = event.get("data")
        if event.get("event") == "DEVICE_UNPLUG_GUEST_ERROR" and isinstance(data, dict) and data.get("device") in ids:
            refused.append(str(data["device"]))
        heard[0].set()

    guest.listeners.append(hear)
    try:
        with trio.move_on_after(_EJECT_S) as patience:
            await guest.monitor.execute("device_del", {"id": ids[0]})
            while set(ids) & set(await _children(guest)) and not refused:
                await heard[0].wait()
                heard[0] = trio.Event()
    except CommandError as error:
        raise HostError(error.message, "the guest was asked for it before; wait, or shut it down") from error
    finally:
        guest.listeners.remove(hear)
    if refused or patience.cancelled_caught:
        why = "refuses to let go of it" if refused else f"has not let go of it in {_EJECT_S:g} s"
        raise HostError(f"the guest {why}", "end what uses it there, or shut the guest down")


async def _children(guest: Guest, path: str = "/machine/peripheral") -> list[str]:
    listed = await guest.monitor.execute("qom-list", {"path": path})
    return [str(item["name"]) for item in msgspec.convert(listed, list[dict[str, object]])]


async def _given(guest: Guest, names: list[str]) -> dict[str, PciAddress]:
    """Give the host's addresses of the functions that the guest has, by the names that they have in QEMU."""
    found = {}
    for name in names:
        try:
            path = {"path": f"/machine/peripheral/{name}"}
            kind = await guest.monitor.execute("qom-get", {**path, "property": "type"})
            if kind == "vfio-pci":
                host = await guest.monitor.execute("qom-get", {**path, "property": "host"})
                found[name] = PciAddress.parse(str(host))
        except CommandError:  # it has gone meanwhile
            continue
    return found
