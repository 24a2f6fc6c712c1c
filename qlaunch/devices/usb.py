"""``[[usb]]``: the host's USB devices, by id or by port.

These options are for those who run the argv by hand. `up` leaves them out and plugs each device in itself, by a
descriptor that it has opened: then QEMU needs no permission, and it is said why one is missing.

Source: QEMU's ``docs/system/devices/usb.rst``, ``hw/usb/host-libusb.c`` (by id or by port it looks every two seconds).
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.disk import BootIndex, ControllerNumber, GuestPort
from qlaunch.devices.section import Section
from qlaunch.devices.site import Controller, Site
from qlaunch.values.pci import DeviceId

FIRST_PORT = 2  # the tablet has port 1
LIMIT = 8
SOURCE = ("vendorid", "productid", "hostbus", "hostport")
"""The properties that say which device is meant."""

Port = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]+-[0-9]+(\.[0-9]+)*$", description="a bus and the ports that lead there, as in '1-2.1'"
    ),
]


class Usb(Section, frozen=True, kw_only=True):
    """One device.

    ``id = "046d:c547"``, or where it is plugged in: ``at = "1-2.1"`` (bus, then ports, as the kernel names it).
    """

    id: DeviceId | None = None
    at: Port | None = None
    guest_reset: bool = True
    port: GuestPort | None = None
    controller: ControllerNumber = 0
    boot_index: BootIndex | None = None
    optional: bool = False  # it may be plugged in later

    def needs(self) -> frozenset[Controller]:
        """A USB device needs the USB controller."""
        return frozenset({"usb"})

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the device on its own port of the controller."""
        place = site.usb_place(FIRST_PORT + index, self.port, self.controller)
        source: dict[str, Value] = {}
        if self.id:
            source |= {"vendorid": self.id.vendor, "productid": self.id.device}
        if self.at:
            bus, _, port = self.at.partition("-")
            source |= {"hostbus": int(bus), "hostport": port}
        reset: dict[str, Value] = {"guest-reset": None if self.guest_reset else False}
        yield device("usb-host", f"usb{index + 1}", **source, **reset, bootindex=self.boot_index, **place)
