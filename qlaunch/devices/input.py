"""``[[input]]``: keyboards, mice and tablets that QEMU itself emulates, where those of ``[display]`` are not enough.

Source: ``hw/usb/dev-hid.c``, ``hw/input/virtio-input-hid.c``, ``hw/input/virtio-input-host.c``.
"""

from collections.abc import Iterator
from typing import Literal

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.disk import ControllerNumber, GuestPort
from qlaunch.devices.section import Section
from qlaunch.devices.site import Controller, Site
from qlaunch.values.guest import GuestAddress

_USB = {"keyboard": "usb-kbd", "mouse": "usb-mouse", "tablet": "usb-tablet"}


class Input(Section, frozen=True, kw_only=True):
    """One emulated device. On the virtio bus it needs an address; ``host`` hands an event device of the host over."""

    type: Literal["keyboard", "mouse", "tablet", "host"]
    bus: Literal["usb", "virtio"] = "usb"
    path: str | None = None  # of type "host"
    controller: ControllerNumber = 0
    port: GuestPort | None = None
    address: GuestAddress | None = None

    def needs(self) -> frozenset[Controller]:
        """A USB device needs the USB controller."""
        return frozenset({"usb"}) if self.bus == "usb" else frozenset()

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the device."""
        if self.bus == "usb":
            bus: dict[str, Value] = {"bus": f"usb{self.controller}.0", "port": self.port}
            yield device(_USB[self.type], f"input{index}", **bus)
            return
        place = site.at(self.address) if self.address else {"bus": site.root_bus}
        yield device(
            f"virtio-{'input-host' if self.type == 'host' else self.type}-pci",
            f"input{index}",
            evdev=self.path,
            **place,
        )
