"""Which PCI device is meant where the machine file names none by its address: what it is, or what it sits behind.

The choice is made before anything is planned, so all else knows addresses alone. What is not clearly one device is told
and not guessed: of twin cards the wrong one may be the host's.

Source: ``lspci(8)`` (names and classes); the kernel's ``include/linux/pci_ids.h`` (classes).
"""

import re
from collections.abc import Iterator

import msgspec

from qlaunch.devices.pci import CLASSES, Pci
from qlaunch.errors import Problem
from qlaunch.host.facts import HostFacts
from qlaunch.host.pci import PciDevice
from qlaunch.machine.load import Loaded
from qlaunch.values.pci import PciAddress

_SEE = "see: qlaunch groups"


def choose_devices(loaded: Loaded, facts: HostFacts) -> Loaded:
    """Give the machine with an address for each device that was found, and a problem for each that was not."""
    if all(pci.is_named for pci in loaded.machine.pci):
        return loaded
    chosen: list[Pci] = []
    problems: list[Problem] = []
    for number, pci in enumerate(loaded.machine.pci):
        one = pci if pci.is_named else _choose(pci, f"pci.{number}", facts, problems)
        if one.is_named and any(one.host.slot == other.host.slot for other in chosen) and not pci.is_named:
            message = f"{pci.wish} is {one.host}, which an entry before hands over already"
            problems.append(Problem(code="pci-twice", key=f"pci.{number}", message=message, hint=_SEE))
        chosen.append(one)
    machine = msgspec.structs.replace(loaded.machine, pci=chosen)
    new = [problem for problem in problems if problem not in loaded.warnings]  # whoever asks twice is told once
    return msgspec.structs.replace(loaded, machine=machine, warnings=(*loaded.warnings, *new))


def _choose(pci: Pci, key: str, facts: HostFacts, problems: list[Problem]) -> Pci:
    slots = list(dict.fromkeys(device.address.slot for device in _fitting(pci, facts)))
    if not slots:
        problems.append(Problem(code="no-device", key=key, message=f"no PCI device is {pci.wish}", hint=_SEE))
    elif pci.nth is None and len(slots) > 1:
        message = f"{len(slots)} PCI devices are {pci.wish}: at {', '.join(slots)}"
        hint = f'say which: host = "{slots[0]}", or nth = 0'
        ports = {slot: facts.pci.slot(slot)[0].upstream for slot in slots}
        if ports[slots[0]] and len(set(ports.values())) == len(slots):
            hint += f', or behind = "{ports[slots[0]]}"'
        problems.append(Problem(code="pci-twins", key=key, message=message, hint=hint))
    elif (pci.nth or 0) >= len(slots):
        message = f"there are {len(slots)} devices that are {pci.wish}, counted from 0: at {', '.join(slots)}"
        problems.append(Problem(code="no-device", key=f"{key}.nth", message=message, hint=_SEE))
    else:
        return msgspec.structs.replace(pci, host=slots[pci.nth or 0])
    return pci


def _fitting(pci: Pci, facts: HostFacts) -> Iterator[PciDevice]:
    for device in facts.pci.devices:
        if (
            not device.bridge
            and pci.id in (None, device.id)
            and (pci.kind is None or device.kind.startswith(CLASSES[pci.kind]))
            and (pci.behind is None or pci.behind in _above(device, facts))
            and (pci.match is None or re.search(pci.match, _name(device, facts), re.IGNORECASE))
        ):
            yield device


def _above(device: PciDevice, facts: HostFacts) -> Iterator[PciAddress]:
    """Yield the bridges above a device, the nearest first."""
    bridge = device.upstream
    while bridge:
        yield bridge
        above = facts.pci.get(bridge)
        bridge = above.upstream if above else None


def _name(device: PciDevice, facts: HostFacts) -> str:
    """Give what ``qlaunch groups`` prints of it: the class, the name, the identity."""
    names = facts.pci_names
    return f"{names.kind(device.kind) or ''} {names.full(device.vendor, device.device) or ''} {device.id}"
