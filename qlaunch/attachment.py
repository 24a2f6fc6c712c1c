"""What it takes to give a PCI slot to a machine that runs: the same steps and refusals as at a start. Pure."""

import msgspec

from qlaunch.devices.memory import Memory
from qlaunch.devices.pci import Pci
from qlaunch.devices.serial import Serial
from qlaunch.devices.site import IOMMUFD
from qlaunch.duty import Duty, lockable
from qlaunch.errors import Problem
from qlaunch.host.facts import HostFacts
from qlaunch.machine.hostside import HostSide
from qlaunch.machine.model import Machine
from qlaunch.preparation import ownership, pci
from qlaunch.preparation.wish import Wish
from qlaunch.steps.step import Step
from qlaunch.values.pci import PciAddress
from qlaunch.values.size import Size


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A PCI slot for a machine that runs: its steps, what stands against it, the arguments of each device_add."""

    name: str
    steps: list[Step]
    problems: list[Problem]
    devices: list[dict[str, str | bool]]
    memory_lock: int = 0  # bytes that QEMU must be allowed to lock


def pci_attachment(duty: Duty, address: PciAddress, port: int, facts: HostFacts) -> Attachment:
    """Plan to give a slot, or one function, to a machine that runs, behind one of its spare ports."""
    section = Pci(host=address)
    # A machine that was started without devices has made no choice yet.
    iommufd = duty.iommufd or (facts.vfio.container is False and bool(facts.vfio.iommufd))
    serial = Serial(enabled=False)  # its log is that of the start
    machine = Machine(
        memory=Memory(size=Size(duty.memory)),
        serial=serial,
        pci=[section],
        host=HostSide(user=duty.user),
    )
    wish = Wish(
        name=duty.name,
        uuid="",
        machine=machine,
        facts=facts,
        runtime=duty.runtime,
        state=duty.state,
        iommufd=iommufd,
    )
    functions = pci.wanted(wish, section)
    names = [facts.pci_names.full(one.vendor, one.device) or one.id for one in functions]
    devices: list[dict[str, str | bool]] = [
        {
            "driver": "vfio-pci",
            "id": f"attached{port}-{number}",
            "host": str(one.address),
            **({"iommufd": IOMMUFD} if iommufd else {}),
            "bus": f"rp-spare{port}",
            "addr": f"0x0.0x{number:x}",
            "multifunction": len(functions) > 1,
        }
        for number, one in enumerate(functions)
    ]
    return Attachment(
        name=f"{address} ({', '.join(names)})",
        steps=[*pci.steps(wish), *ownership.steps(wish)],
        problems=list(pci.refusals(wish)),
        devices=devices,
        memory_lock=lockable(duty.memory, facts.memory.total if iommufd else None, iommufd=iommufd),
    )
