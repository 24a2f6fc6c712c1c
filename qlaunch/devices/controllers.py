"""Controllers that several sections share, each present only if some device sits on it, and the PCIe root ports.

Source: ``hw/usb/hcd-xhci-pci.c`` (at most 15 ports of each speed), ``hw/scsi/virtio-scsi.c``,
``hw/pci-bridge/gen_pcie_root_port.c``.
"""

from collections.abc import Iterable, Iterator

from qlaunch.devices.arg import Arg, Value, device
from qlaunch.devices.ports import Port, fixed
from qlaunch.devices.site import Site

SPARE_PORTS = 4


def controllers(site: Site) -> Iterator[Arg]:
    """Yield the controllers that the machine's devices need."""
    if "usb" in site.needs:
        yield device("qemu-xhci", "usb0", p2=15, p3=15, **site.on(fixed("xhci")))
    if "virtio-serial" in site.needs:
        yield device("virtio-serial-pci", "vserial0", **site.on(fixed("vserial")))
    if "scsi" in site.needs:
        yield device("virtio-scsi-pci", "scsi0", iothread=site.scsi_iothread, **site.on(fixed("scsi")))


def root_ports(used: Iterable[Port]) -> Iterator[Arg]:
    """Yield the root ports that devices sit on, and four spare ones for hot-plugging.

    Function 0 of a slot is always there: without it the guest does not look for the others.
    """
    spare = {Port("spare", number) for number in range(SPARE_PORTS)}
    ports = set(used) | spare
    for port in sorted(ports | {port.first_of_slot for port in ports}, key=lambda port: port.chassis):
        place: dict[str, Value] = {
            "bus": "pcie.0",
            "chassis": port.chassis,
            "port": 0x0F + port.chassis,
            "addr": port.address,
            "multifunction": True if port == port.first_of_slot else None,
            # No "safely remove" icon for what is built in; what the host may want back keeps its hot-plug.
            "hotplug": port.kind in ("pci", "net", "spare"),
        }
        yield device("pcie-root-port", port.id, **place)
