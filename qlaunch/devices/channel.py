"""``[[channel]]``: further named channels between host and guest, and serial ports beside the first one.

Source: ``hw/char/virtio-console.c`` (a port is found by its name), ``hw/char/serial-isa.c`` (four ports),
``qapi/char.json``.
"""

from collections.abc import Iterator
from typing import Literal

from qlaunch.devices.arg import Arg, Value, device, keyval
from qlaunch.devices.disk import ControllerNumber, GuestPort
from qlaunch.devices.section import Section
from qlaunch.devices.site import Controller, Site
from qlaunch.values.guest import GuestAddress

_DRIVERS = {
    "port": "virtserialport",
    "console": "virtconsole",
    "serial": "isa-serial",
    "usb": "usb-serial",
    "pci": "pci-serial",
}


class Channel(Section, frozen=True, kw_only=True):
    """One channel. What it leads to is a socket of the machine's own, unless the file says otherwise."""

    kind: Literal["port", "console", "serial", "usb", "pci"] = "port"
    name: str | None = None  # by which the guest finds a port
    to: Literal["socket", "file", "spiceport", "null"] = "socket"
    path: str | None = None  # of a file, or of a socket that others look for
    number: int | None = None  # of a serial port, counted from 0
    controller: ControllerNumber = 0
    port: GuestPort | None = None
    address: GuestAddress | None = None

    def needs(self) -> frozenset[Controller]:
        """Ports and consoles are virtio-serial's."""
        match self.kind:
            case "port" | "console":
                return frozenset({"virtio-serial"})
            case "usb":
                return frozenset({"usb"})
            case _:
                return frozenset()

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the back end and the port."""
        chardev = f"channel{index}-chr"
        match self.to:
            case "socket":
                path = self.path or site.socket(f"channel{index}")
                yield keyval("chardev", "socket", id=chardev, path=path, server=True, wait=False)
            case "file":
                yield keyval("chardev", "file", id=chardev, path=self.path)
            case "spiceport":
                yield keyval("chardev", "spiceport", id=chardev, name=self.name)
            case _:
                yield keyval("chardev", "null", id=chardev)
        yield device(_DRIVERS[self.kind], f"channel{index}", chardev=chardev, name=self.name, **self._place(site))

    def _place(self, site: Site) -> dict[str, Value]:
        match self.kind:
            case "port" | "console":
                # Port 0 is for a console of old, 1 and 2 are the viewer's agent and the guest agent.
                return {"bus": f"vserial{self.controller}.0"}
            case "usb":
                return {"bus": f"usb{self.controller}.0", "port": self.port}
            case "pci":
                return site.at(self.address) if self.address else {"bus": site.root_bus}
            case _:
                return {"index": self.number}
