"""Controllers of USB, SCSI, SATA and virtio-serial in libvirt's words; those of PCI are in `export_places`.

Source: libvirt's ``docs/formatdomain.rst``, "Controllers"; ``src/qemu/qemu_domain.c``,
``qemuDomainDefAddDefaultDevices`` (a USB controller is added unless refused).
"""

from collections.abc import Iterator

from qlaunch.devices.controllers import Controller
from qlaunch.libvirt.export_sheet import Part, Sheet
from qlaunch.libvirt.export_xml import Element, element

_USB = {"xhci": "qemu-xhci", "nec-xhci": "nec-xhci", "ehci": "ehci", "uhci": "piix3-uhci"}
_SCSI = {"virtio-scsi": "virtio-scsi", "lsi": "lsilogic", "megasas": "lsisas1078", "pvscsi": "vmpvscsi"}
# The companions of ICH9's fast controller: number and first port.
_COMPANIONS = ((1, 0), (2, 2), (3, 4))


def controllers(sheet: Sheet) -> Iterator[Part]:
    """Yield the PCI bridges, the controllers that the file names, and those that its devices need."""
    yield from sheet.places.controllers()
    kinds = {controller.kind for controller in sheet.machine.controller}
    for controller, number in zip(sheet.machine.controller, sheet.site.controller_numbers, strict=True):
        yield from _named(sheet, controller, number)
    if "usb" in sheet.site.needs:
        place = sheet.places.address("usb0")
        yield element("controller", place, type="usb", index=0, model="qemu-xhci", ports=15)
    elif "usb" not in kinds:
        yield element("controller", type="usb", index=0, model="none")
    if "virtio-serial" in sheet.site.needs:
        yield element("controller", sheet.places.address("vserial0"), type="virtio-serial", index=0)
    if "scsi" in sheet.site.needs:
        driver = _driver(sheet, sheet.site.scsi_iothread, None)
        yield element("controller", driver, sheet.places.address("scsi0"), type="scsi", index=0, model="virtio-scsi")
    yield element("controller", type="sata" if sheet.site.board == "q35" else "ide", index=0)


def _named(sheet: Sheet, controller: Controller, number: int) -> Iterator[Element]:
    match controller.kind:
        case "usb" if controller.type == "ich9-usb":
            yield from _ich9(sheet, number)
        case "usb":
            ports = (controller.ports or 15) if "xhci" in controller.type else None
            place = sheet.places.address(f"usb{number}")
            yield element("controller", place, type="usb", index=number, model=_USB[controller.type], ports=ports)
        case "scsi":
            driver = _driver(sheet, controller.iothread, controller.queues)
            place = sheet.places.address(f"scsi{number}")
            yield element("controller", driver, place, type="scsi", index=number, model=_SCSI[controller.type])
        case "virtio-serial":
            place = sheet.places.address(f"vserial{number}")
            yield element("controller", place, type="virtio-serial", index=number, ports=controller.ports)
        case "ahci":
            index = number + (1 if sheet.site.board == "q35" else 0)  # q35 has the first one built in
            yield element("controller", sheet.places.address(f"sata{number}"), type="sata", index=index)
        case _:
            return


def _driver(sheet: Sheet, iothread: str | None, queues: int | None) -> Element | None:
    thread = None if iothread is None else sheet.thread_number(iothread)
    return None if thread is None and queues is None else element("driver", iothread=thread, queues=queues)


def _ich9(sheet: Sheet, number: int) -> Iterator[Element]:
    yield element("controller", sheet.places.address(f"usb{number}"), type="usb", index=number, model="ich9-ehci1")
    for slow, first in _COMPANIONS:
        place = sheet.places.address(f"usb{number}-uhci{slow}")
        master = element("master", startport=first)
        yield element("controller", master, place, type="usb", index=number, model=f"ich9-uhci{slow}")
