"""USB devices, each below the PCI controller that it goes to a guest with.

Serial numbers are not read: nothing needs them, and a capture must not hold them.

Source: the kernel's ``Documentation/ABI/testing/sysfs-bus-usb`` and ``drivers/usb/core/sysfs.c``; names are ``1-2.3``
for port 3 of the hub in port 2 of bus 1, and ``1-2.3:1.0`` for an interface of it.
"""

import msgspec

from qlaunch.host.pci import last_pci_address
from qlaunch.host.tree import Tree
from qlaunch.values.pci import DeviceId, PciAddress

_FOLDER = "/sys/bus/usb/devices"
_HUB = 0x09


class UsbDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One USB device that is plugged in."""

    port: str
    """Where it is plugged in: ``1-2.3``."""
    id: DeviceId
    name: str | None = None
    maker: str | None = None
    bus: int | None = None
    number: int | None = None
    """Its number on the bus, which changes with every plugging in."""
    speed_mbps: str | None = None
    hub: bool = False
    controller: PciAddress | None = None
    drivers: tuple[str, ...] = ()
    """Of its interfaces, each once."""

    @property
    def node(self) -> str:
        """The file that it is opened by: another one after every plugging in."""
        return f"/dev/bus/usb/{self.bus or 0:03}/{self.number or 0:03}"

    def is_meant(self, wanted: str | None, port: str | None) -> bool:
        """Whether it has an id, and is plugged in at a port; None is any."""
        return (wanted is None or self.id == wanted) and (port is None or self.port == port)

    def __str__(self) -> str:
        """Name it for people: what it calls itself, its id and its port."""
        name = " ".join(word for word in (self.maker, self.name) if word)
        return f"{name} ({self.id} at {self.port})" if name else f"{self.id} at {self.port}"


def read_usb(tree: Tree) -> tuple[UsbDevice, ...]:
    """Read every device but the root hubs."""
    names = tree.listdir(_FOLDER)
    drivers: dict[str, set[str]] = {}
    for name in names:
        device, colon, _ = name.partition(":")
        if colon and (driver := tree.linked_name(f"{_FOLDER}/{name}/driver")):
            drivers.setdefault(device, set()).add(driver)
    devices = (
        _device(tree, name, tuple(sorted(drivers.get(name, ()))))
        for name in names
        if ":" not in name and not name.startswith("usb")
    )
    return tuple(device for device in devices if device)


def _device(tree: Tree, name: str, drivers: tuple[str, ...]) -> UsbDevice | None:
    folder = f"{_FOLDER}/{name}"
    vendor, product = tree.hexadecimal(f"{folder}/idVendor"), tree.hexadecimal(f"{folder}/idProduct")
    if vendor is None or product is None:
        return None
    return UsbDevice(
        port=name,
        id=DeviceId(f"{vendor:04x}:{product:04x}"),
        name=tree.label(f"{folder}/product"),
        maker=tree.label(f"{folder}/manufacturer"),
        bus=tree.number(f"{folder}/busnum"),
        number=tree.number(f"{folder}/devnum"),
        speed_mbps=tree.read(f"{folder}/speed"),
        hub=tree.hexadecimal(f"{folder}/bDeviceClass") == _HUB,
        controller=last_pci_address(tree.readlink(folder)),
        drivers=drivers,
    )
