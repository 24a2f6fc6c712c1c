"""Devices of the host in libvirt's words: PCI, USB, input devices, folders.

Source: libvirt's ``docs/formatdomain.rst``, "Host device assignment", "Input devices", "Filesystems".
"""

from collections.abc import Iterator

from qlaunch.devices.share import Share
from qlaunch.devices.usb import FIRST_PORT
from qlaunch.libvirt.export_sheet import Part, Sheet, changed, left, since
from qlaunch.libvirt.export_xml import Element, element
from qlaunch.values.pci import PciAddress


def pci_source(address: PciAddress, kind: str | None = None) -> Element:
    """Give the ``source`` of a function of the host's PCI devices; below an interface it wants a type."""
    domain, bus, rest = address.split(":")
    slot, _, function = rest.partition(".")
    place = {"domain": f"0x{domain}", "bus": f"0x{bus}", "slot": f"0x{slot}", "function": f"0x{function or '0'}"}
    return element("source", element("address", type=kind, **place))


def passed_through(sheet: Sheet) -> Iterator[Part]:
    """Yield every PCI function, and every USB device."""
    for index, pci in enumerate(sheet.machine.pci):
        if not pci.is_named:
            yield left(f"pci.{index}", f"which device is {pci.wish} is not known here")
            continue
        present = sheet.site.slot_functions.get(pci.host.slot, ())
        if pci.host.function is None and not pci.functions and not present:
            message = f"which functions {pci.host} has is not known here; function 0 alone is written"
            yield changed(
                f"pci.{index}.host", message, f"export on the host that has it, or write functions = [{'0, 1'}]"
            )
        for position, function in enumerate(pci.chosen(present)):
            bar = None if pci.rom_bar is None else "on" if pci.rom_bar else "off"
            file = pci.rom if position == 0 else None
            yield element(
                "hostdev",
                element("driver", name="vfio"),
                pci_source(pci.host.at(function)),
                element("rom", bar=bar, file=file) if bar or file else None,
                sheet.boot(pci.boot_index) if position == 0 else None,
                sheet.aliases.of(f"pci{index}-{position}"),
                sheet.places.address(f"pci{index}-{position}"),
                mode="subsystem",
                type="pci",
                managed="yes",
            )
        yield from _pci_told(sheet, index)
    yield from _usb(sheet)


def inputs(sheet: Sheet) -> Iterator[Part]:
    """Yield the host's keyboards and mice."""
    for index, device in enumerate(sheet.machine.evdev):
        grab, repeat = ("all" if device.grab_all else None), ("on" if device.repeat else None)
        source = element("source", dev=device.path, grab=grab, repeat=repeat, grabToggle=device.grab_toggle)
        if device.path.startswith("/"):
            yield element("input", source, type="evdev")
        else:
            yield left(f"evdev.{index}.path", f"{device.path!r} is no absolute path")


def shares(sheet: Sheet) -> Iterator[Part]:
    """Yield the folders."""
    for index, share in enumerate(sheet.machine.share):
        yield _share(sheet, index, share)
        if share.read_only and share.type == "virtiofs" and not sheet.knows("virtiofs readonly"):
            message = f"libvirt shares a folder read-only by virtiofs from {since('virtiofs readonly')} on"
            yield left(f"share.{index}.read_only", message, 'the guest could write: use type = "9p"')


def _share(sheet: Sheet, index: int, share: Share) -> Element:
    virtiofs = share.type == "virtiofs"
    read_only = share.read_only and (not virtiofs or sheet.knows("virtiofs readonly"))
    return element(
        "filesystem",
        element("driver", type="virtiofs", queue=1024) if virtiofs else element("driver", type="path"),
        element("source", dir=share.path),
        element("target", dir=share.tag),
        element("readonly") if read_only else None,
        sheet.places.address(f"share{index}"),
        type="mount",
        accessmode="passthrough" if virtiofs else {"none": "squash"}.get(share.access, share.access),
    )


def _pci_told(sheet: Sheet, index: int) -> Iterator[Part]:
    pci = sheet.machine.pci[index]
    if pci.id:
        yield left(f"pci.{index}.id", f"libvirt does not check that {pci.id} is what sits at {pci.host}")
    if pci.reset_method:
        yield left(f"pci.{index}.reset_method", "libvirt leaves the way of resetting to the kernel")


def _usb(sheet: Sheet) -> Iterator[Part]:
    for index, usb in enumerate(sheet.machine.usb):
        if usb.id is None:
            message = f"libvirt finds a USB device by its id or by a number that changes, not by the port {usb.at}"
            yield left(f"usb.{index}.at", message, "name the device by its id, as lsusb shows it")
            continue
        vendor, product = element("vendor", id=f"0x{usb.id[:4]}"), element("product", id=f"0x{usb.id[5:]}")
        source = element(
            "source", vendor, product, guestReset=None if usb.guest_reset else "off", startupPolicy="optional"
        )
        place = sheet.usb_place(FIRST_PORT + index, usb.port, usb.controller)
        yield element("hostdev", source, sheet.boot(usb.boot_index), place, mode="subsystem", type="usb", managed="yes")
        if usb.at:
            yield left(f"usb.{index}.at", f"libvirt takes any device {usb.id}, in whichever port it is")
