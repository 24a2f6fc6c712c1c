"""``[[pci]]``: functions of the host's PCI devices, handed to the guest by VFIO.

Source: the kernel's ``Documentation/driver-api/vfio.rst``, QEMU's ``hw/vfio/pci.c`` (x-vga, romfile, rombar).
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.disk import BootIndex, PlaceNumber
from qlaunch.devices.ports import Port
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.guest import GuestAddress
from qlaunch.values.pci import DeviceId, PciAddress

Nth = Annotated[int, msgspec.Meta(ge=0, le=63)]
FunctionNumber = Annotated[int, msgspec.Meta(ge=0, le=7)]

# Source: the kernel's drivers/pci/pci.c, pci_reset_fn_methods.
ResetMethod = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z_]+( [a-z_]+)*$", description="names as in reset_method of sysfs, as in 'bus' or 'flr bus'"
    ),
]


# How the class of a function begins. Source: the kernel's include/linux/pci_ids.h.
CLASSES = {"display": "03", "audio": "0403", "usb": "0c03", "nvme": "0108", "sata": "0106", "network": "02"}
# Where no device is: an address that no bus has, until one is chosen.
NOWHERE = PciAddress("ffff:ff:1f")


class Pci(Section, frozen=True, kw_only=True):
    """One slot, or one function of it. All functions of a slot go together, as one device of the guest.

    By its address, or by what it is: then ``nth`` says which one of several, counted from 0 in the order of addresses.
    """

    host: PciAddress = msgspec.field(default_factory=lambda: NOWHERE)  # as a plain default, the schema would show it
    id: DeviceId | None = None
    kind: Literal["display", "audio", "usb", "nvme", "sata", "network"] | None = None
    match: str | None = None
    behind: PciAddress | None = None
    nth: Nth | None = None
    functions: list[FunctionNumber] = []
    rom: str | None = None
    rom_bar: bool | None = None
    x_vga: bool = False
    reset_method: ResetMethod | None = None
    boot_index: BootIndex | None = None
    port: PlaceNumber | None = None
    address: GuestAddress | None = None

    @property
    def is_named(self) -> bool:
        """Whether its address is known, from the file or by choice."""
        return self.host != NOWHERE

    @property
    def wish(self) -> str:
        """Say in words what is wanted, where that is no address."""
        words = (self.kind, self.id, self.match and f"/{self.match}/", self.behind and f"behind {self.behind}")
        return ", ".join(filter(None, words))

    def chosen(self, present: tuple[int, ...]) -> tuple[int, ...]:
        """Give the function numbers that go to the guest, of those present on the host."""
        if self.host.function is not None:
            return (self.host.function,)
        return tuple(self.functions) or present or (0,)

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield a vfio-pci device for each function, the first one as function 0 of the guest's slot."""
        place = Port("pci", index if self.port is None else self.port)
        functions = self.chosen(site.slot_functions.get(self.host.slot, ()))
        for guest_function, host_function in enumerate(functions):
            first = guest_function == 0
            own: dict[str, Value] = {
                "multifunction": True if first and len(functions) > 1 else None,
                "romfile": self.rom if first else None,
                "rombar": None if self.rom_bar is None else int(self.rom_bar),
                "x-vga": True if first and self.x_vga else None,
                "bootindex": self.boot_index if first else None,
            }
            yield device(
                "vfio-pci",
                f"pci{index}-{guest_function}",
                host=str(self.host.at(host_function)) if self.is_named else None,
                **site.vfio,
                **own,
                **site.on(place, guest_function, address=self.address),
            )
