"""All facts of a host, each part read when it is first asked for, and once.

A verb that needs the CPUs alone reads, and imports, the CPUs alone: most of a start is reading.
"""

# ruff: noqa: PLC0415 - each part imports its reader, so that the others cost nothing

from functools import cached_property
from typing import TYPE_CHECKING

from qlaunch.host.tree import Tree

if TYPE_CHECKING:
    from qlaunch.host.block import BlockFacts
    from qlaunch.host.cgroup import CgroupFacts
    from qlaunch.host.cpus import CpuFacts
    from qlaunch.host.framebuffer import FramebufferFacts
    from qlaunch.host.holders import Holders
    from qlaunch.host.input import EventDevice
    from qlaunch.host.iommu import IommuFacts
    from qlaunch.host.kernel import KernelFacts
    from qlaunch.host.network import NetworkFacts
    from qlaunch.host.numa import MemoryFacts
    from qlaunch.host.pci import PciFacts
    from qlaunch.host.pci_ids import PciNames
    from qlaunch.host.pci_settings import PciSettings
    from qlaunch.host.software import SoftwareFacts
    from qlaunch.host.usb import UsbDevice
    from qlaunch.host.vfio import VfioFacts


class HostFacts:
    """The facts of one tree."""

    def __init__(self, tree: Tree | None = None) -> None:
        self.tree = tree or Tree()
        self._settings: dict[str, PciSettings] = {}

    @cached_property
    def cpus(self) -> "CpuFacts":
        """CPUs, caches, frequency."""
        from qlaunch.host.cpus import read_cpus

        return read_cpus(self.tree)

    @cached_property
    def memory(self) -> "MemoryFacts":
        """NUMA nodes and hugepages."""
        from qlaunch.host.numa import read_memory

        return read_memory(self.tree)

    @cached_property
    def pci(self) -> "PciFacts":
        """What identifies each PCI function."""
        from qlaunch.host.pci import read_pci

        return read_pci(self.tree)

    def pci_settings(self, address: str) -> "PciSettings":
        """Give the settings of one PCI function; see `pci_settings.py` for what this may wait for."""
        if address not in self._settings:
            from qlaunch.host.pci_settings import read_pci_settings
            from qlaunch.values.pci import PciAddress

            self._settings[address] = read_pci_settings(self.tree, PciAddress(address))
        return self._settings[address]

    @cached_property
    def pci_names(self) -> "PciNames":
        """Names of PCI devices."""
        from qlaunch.host.pci_ids import PciNames

        return PciNames(self.tree)

    @cached_property
    def iommu(self) -> "IommuFacts":
        """IOMMU groups."""
        from qlaunch.host.iommu import read_iommu

        return read_iommu(self.tree)

    @cached_property
    def vfio(self) -> "VfioFacts":
        """How programs get at VFIO devices."""
        from qlaunch.host.vfio import VfioFacts

        return VfioFacts(self.tree)

    @cached_property
    def usb(self) -> "tuple[UsbDevice, ...]":
        """USB devices."""
        from qlaunch.host.usb import read_usb

        return read_usb(self.tree)

    @cached_property
    def inputs(self) -> "tuple[EventDevice, ...]":
        """Keyboards, mice and the like."""
        from qlaunch.host.input import read_inputs

        return read_inputs(self.tree)

    @cached_property
    def framebuffers(self) -> "FramebufferFacts":
        """Framebuffers, consoles, graphics cards, holders of BARs."""
        from qlaunch.host.framebuffer import read_framebuffers

        return read_framebuffers(self.tree)

    @cached_property
    def blocks(self) -> "BlockFacts":
        """Disks and what they carry."""
        from qlaunch.host.block import read_blocks

        return read_blocks(self.tree)

    @cached_property
    def network(self) -> "NetworkFacts":
        """Links and default routes."""
        from qlaunch.host.network import read_network

        return read_network(self.tree)

    @cached_property
    def cgroups(self) -> "CgroupFacts":
        """The layout of control groups."""
        from qlaunch.host.cgroup import read_cgroups

        return read_cgroups(self.tree)

    @cached_property
    def kernel(self) -> "KernelFacts":
        """Kernel, modules, processor."""
        from qlaunch.host.kernel import read_kernel

        return read_kernel(self.tree)

    @cached_property
    def software(self) -> "SoftwareFacts":
        """Installed programs."""
        from qlaunch.host.software import read_software

        return read_software(self.tree)

    @cached_property
    def holders(self) -> "Holders":
        """Processes that hold devices open: the one part that changes from moment to moment."""
        from qlaunch.host.holders import read_holders

        return read_holders(self.tree)
