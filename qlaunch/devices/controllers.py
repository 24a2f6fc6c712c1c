"""Controllers that several sections share, each present only if some device sits on it; and ``[[controller]]``.

Where the file names controllers of a kind, those take the place of the one that there would be otherwise.

Source: ``hw/usb/hcd-xhci-pci.c`` (at most 15 ports of each speed), ``hw/usb/hcd-ehci-pci.c`` and
``docs/config/ich9-ehci-uhci.cfg`` (companions), ``hw/scsi/virtio-scsi.c``, ``hw/char/virtio-serial-bus.c``.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.ports import fixed
from qlaunch.devices.section import Section
from qlaunch.devices.site import Site
from qlaunch.values.guest import GuestAddress

UsbType = Literal["xhci", "nec-xhci", "ehci", "ich9-usb", "uhci"]
ScsiType = Literal["virtio-scsi", "lsi", "megasas", "pvscsi"]
SwitchType = Literal["upstream", "downstream", "expander", "pci-expander"]
BridgeType = Literal["root-port", "pcie-to-pci", "dmi-to-pci", "pci-bridge", SwitchType]
ControllerType = Literal[UsbType, ScsiType, "virtio-serial", "ahci", BridgeType]
# QEMU's names, and the kind by which devices name a controller: usb0, scsi1 …
USB = {"xhci": "qemu-xhci", "nec-xhci": "nec-usb-xhci", "ehci": "usb-ehci", "uhci": "piix3-usb-uhci"}
SCSI = {"virtio-scsi": "virtio-scsi-pci", "lsi": "lsi53c895a", "megasas": "megasas", "pvscsi": "pvscsi"}
KINDS = {
    **dict.fromkeys((*USB, "ich9-usb"), "usb"),
    **dict.fromkeys(SCSI, "scsi"),
    "virtio-serial": "virtio-serial",
    "ahci": "ahci",
}
# The companions of ICH9's EHCI controller: first port and function of each.
_COMPANIONS = ((0, 0), (2, 1), (4, 2))


class Controller(Section, frozen=True, kw_only=True):
    """One controller or bridge at its place in the guest. A bridge is known by its address alone."""

    type: ControllerType
    address: GuestAddress
    ports: Annotated[int, msgspec.Meta(ge=1, le=31)] | None = None
    queues: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None
    iothread: str | None = None
    node: Annotated[int, msgspec.Meta(ge=0, le=1023)] | None = None
    hotplug: bool = True

    @property
    def kind(self) -> str | None:
        """What devices sit on it: usb, scsi, virtio-serial, ahci; None for a bridge."""
        return KINDS.get(self.type)

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the controller; bridges are made with the bus, see `bridges`."""
        number = site.controller_numbers[index]
        place = site.at(self.address)
        match self.kind:
            case "usb" if self.type == "ich9-usb":
                yield from self._ich9(site, f"usb{number}")
            case "usb":
                ports: dict[str, Value] = {}
                if self.type in ("xhci", "nec-xhci"):
                    count = min(self.ports or 15, 15)
                    ports = {"p2": count, "p3": count}
                yield device(USB[self.type], f"usb{number}", **ports, **place)
            case "scsi":
                queues: dict[str, Value] = {"num_queues": self.queues, "iothread": self.iothread}
                yield device(SCSI[self.type], f"scsi{number}", **queues, **place)
            case "virtio-serial":
                yield device("virtio-serial-pci", f"vserial{number}", max_ports=self.ports, **place)
            case "ahci":
                yield device("ahci", f"sata{number}", **place)
            case _:
                return

    def _ich9(self, site: Site, name: str) -> Iterator[Arg]:
        """Yield the fast controller and its three slow companions, in the functions where ICH9 has them."""
        yield device("ich9-usb-ehci1", name, **site.at(self.address.at(7)))
        for number, (first, function) in enumerate(_COMPANIONS, 1):
            slow: dict[str, Value] = {"masterbus": f"{name}.0", "firstport": first}
            yield device(f"ich9-usb-uhci{number}", f"{name}-uhci{number}", **slow, **site.at(self.address.at(function)))


def controllers(site: Site) -> Iterator[Arg]:
    """Yield the controllers that the machine's devices need, and that the file does not name."""
    if "usb" in site.needs:
        yield device("qemu-xhci", "usb0", p2=15, p3=15, **site.on(fixed("xhci")))
    if "virtio-serial" in site.needs:
        yield device("virtio-serial-pci", "vserial0", **site.on(fixed("vserial")))
    if "scsi" in site.needs:
        yield device("virtio-scsi-pci", "scsi0", iothread=site.scsi_iothread, **site.on(fixed("scsi")))
