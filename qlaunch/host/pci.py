"""PCI devices, in two depths: what identifies each of them, and the settings of one.

The first reads only what no lock of the kernel guards. The second asks for ``driver_override`` and ``sriov_numvfs``,
which wait for the device's lock: where a driver hangs in its unbind, so does the reader. So it is asked for the devices
that matter alone.

Source: the kernel's ``Documentation/ABI/testing/sysfs-bus-pci``, ``drivers/pci/pci-sysfs.c`` and
``Documentation/PCI/pci-iov-howto.rst``.
"""

import re

import msgspec

from qlaunch.host.tree import Tree, whole_number
from qlaunch.values.pci import PciAddress

FOLDER = "/sys/bus/pci/devices"
_MODALIAS = re.compile(r"pci:v0000(\w{4})d0000(\w{4})sv0000(\w{4})sd0000(\w{4})bc(\w\w)sc(\w\w)i(\w\w)", re.ASCII)
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.ASCII)
_BRIDGE = "06"


class PciDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One PCI function."""

    address: PciAddress
    kind: str = msgspec.field(name="class")
    """Six hexadecimal digits: class, subclass, programming interface."""
    vendor: str
    device: str
    subsystem: str = ""
    """``1eae:6905``; empty when the device has none, as bridges do."""
    driver: str | None = None
    group: int | None = None
    node: int | None = None
    resettable: bool = False
    boot_vga: bool = False
    """Whether the firmware's own picture was on it."""
    upstream: PciAddress | None = None
    """The bridge above it."""

    @property
    def id(self) -> str:
        """Vendor and device, ``1002:73bf``."""
        return f"{self.vendor}:{self.device}"

    @property
    def bridge(self) -> bool:
        """Whether it is a bridge; those are never given to a guest, and need not be."""
        return self.kind.startswith(_BRIDGE)

    @property
    def display(self) -> bool:
        """Whether it is a graphics card."""
        return self.kind.startswith("03")


class PciFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Every PCI function, in the order of addresses."""

    devices: tuple[PciDevice, ...] = ()

    def get(self, address: str) -> PciDevice | None:
        """Give the function at an address."""
        return next((device for device in self.devices if device.address == address), None)

    def slot(self, address: str) -> tuple[PciDevice, ...]:
        """Give all functions of the slot that an address belongs to."""
        slot = PciAddress(address).slot
        return tuple(device for device in self.devices if device.address.slot == slot)

    def group(self, number: int) -> tuple[PciDevice, ...]:
        """Give the functions of an IOMMU group."""
        return tuple(device for device in self.devices if device.group == number)


def read_pci(tree: Tree) -> PciFacts:
    """Read what identifies each function."""
    return PciFacts(devices=tuple(_device(tree, name) for name in tree.listdir(FOLDER) if _ADDRESS.fullmatch(name)))


def pci_addresses(link: str | None) -> list[PciAddress]:
    """Give the addresses in the text of a link into /sys/devices, from the root down: the last is the device's own."""
    return [PciAddress(part) for part in (link or "").split("/") if _ADDRESS.fullmatch(part)]


def last_pci_address(link: str | None) -> PciAddress | None:
    """Give the PCI function below which a device of another kind hangs; None for virtual devices."""
    return next(reversed(pci_addresses(link)), None)


def _device(tree: Tree, name: str) -> PciDevice:
    folder = f"{FOLDER}/{name}"
    vendor, device, subsystem, kind = _identity(tree, folder)
    node = tree.number(f"{folder}/numa_node")
    above = pci_addresses(tree.readlink(folder))
    return PciDevice(
        address=PciAddress(name),
        kind=kind,
        vendor=vendor,
        device=device,
        subsystem=subsystem,
        driver=tree.linked_name(f"{folder}/driver"),
        group=whole_number(tree.linked_name(f"{folder}/iommu_group")),
        node=None if node is None or node < 0 else node,
        resettable=tree.exists(f"{folder}/reset"),
        boot_vga=kind.startswith("03") and tree.number(f"{folder}/boot_vga") == 1,
        upstream=above[-2] if len(above) > 1 else None,
    )


def _identity(tree: Tree, folder: str) -> tuple[str, str, str, str]:
    """Give vendor, device, subsystem and class: one line has all of them."""
    match = _MODALIAS.match(tree.read(f"{folder}/modalias") or "")
    if match:
        vendor, device, card_vendor, card, *kind = (part.lower() for part in match.groups())
    else:
        vendor, device, card_vendor, card = (
            _digits(tree, f"{folder}/{name}", 4)
            for name in ("vendor", "device", "subsystem_vendor", "subsystem_device")
        )
        kind = [_digits(tree, f"{folder}/class", 6)]
    return vendor, device, "" if card_vendor == card == "0000" else f"{card_vendor}:{card}", "".join(kind)


def _digits(tree: Tree, path: str, count: int) -> str:
    number = tree.hexadecimal(path)
    return f"{number or 0:0{count}x}"[-count:]
