"""What every theme is asked about: a host, and a machine if one is named."""

from functools import cached_property

from qlaunch.host.facts import HostFacts
from qlaunch.host.pci import PciDevice
from qlaunch.host.permissions import keeps_lists
from qlaunch.machine.model import Machine


class Question:
    """A host, and perhaps a machine that is to run on it."""

    def __init__(self, facts: HostFacts, machine: Machine | None = None) -> None:
        self.facts = facts
        self.machine = machine

    @cached_property
    def wanted(self) -> list[PciDevice]:
        """The PCI functions of this host that the machine wants."""
        if self.machine is None:
            return []
        found = []
        for pci in self.machine.pci:
            slot = self.facts.pci.slot(pci.host)
            functions = pci.chosen(tuple(one.address.function or 0 for one in slot))
            found += [one for one in slot if one.address.function in functions]
        return found

    @property
    def gpu_node(self) -> int | None:
        """The node of the first graphics card that the machine takes."""
        return next((one.node for one in self.wanted if one.display and one.node is not None), None)

    @property
    def passes_devices(self) -> bool:
        """Whether the machine takes devices of the host."""
        return self.machine is not None and self.machine.passes_devices

    @property
    def user(self) -> str | None:
        """The user that QEMU is to run as; None is whoever asks."""
        return self.machine.host.user if self.machine else None

    def lets_in(self, node: str) -> bool:
        """Whether the start itself lets QEMU's user open a node, by its access list."""
        return self.user is not None and self.facts.tree.live and keeps_lists(self.facts.tree, node)

    def name(self, device: PciDevice) -> str:
        """Give the address and the name of a device, as people know it."""
        names = self.facts.pci_names
        name, brand = names.device(device.vendor, device.device), names.brand(device.vendor) or device.vendor
        return f"{device.address.removeprefix('0000:')} ({f'{brand} {name}' if name else device.id})"
