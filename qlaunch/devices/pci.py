"""``[[pci]]``: functions of the host's PCI devices, handed to the guest by VFIO.

Source: the kernel's ``Documentation/driver-api/vfio.rst``, QEMU's ``hw/vfio/pci.c`` (x-vga, romfile, rombar).
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.disk import BootIndex, PlaceNumber
from qlaunch.devices.ports import Port
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.pci import DeviceId, PciAddress

FunctionNumber = Annotated[int, msgspec.Meta(ge=0, le=7)]


class Pci(Section, frozen=True, kw_only=True):
    """One slot, or one function of it. All functions of a slot go together, as one device of the guest."""

    host: PciAddress
    id: DeviceId | None = None
    functions: list[FunctionNumber] = []
    rom: str | None = None
    rom_bar: bool | None = None
    x_vga: bool = False
    boot_index: BootIndex | None = None
    port: PlaceNumber | None = None

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
                host=str(self.host.at(host_function)),
                **own,
                **site.on(place, guest_function),
            )
