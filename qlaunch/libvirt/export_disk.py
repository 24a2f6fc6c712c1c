"""Disks and their controllers in libvirt's words.

Source: libvirt's ``docs/formatdomain.rst``, "Hard drives, floppy disks, CDROMs", "Controllers";
``src/qemu/qemu_validate.c`` (a read-only disk on SATA or IDE is refused).
"""

import re
from collections.abc import Iterator

from qlaunch.devices.disk import FIRST_USB_PORT, Disk
from qlaunch.libvirt.export_sheet import Native, Part, Sheet, changed, left, since
from qlaunch.libvirt.export_xml import Element, element

# All that libvirt takes in a serial number (diskSerial in src/conf/schemas/domaincommon.rng).
_SERIAL = re.compile(r"[A-Za-z0-9_.+ -]+", re.ASCII)
_PREFIX = {"virtio": "vd", "ide": "hd"}


def disks(sheet: Sheet) -> Iterator[Part]:
    """Yield every disk."""
    taken: dict[str, int] = {}
    for index, disk in enumerate(sheet.machine.disk):
        on_ide = disk.on_bus == "sata" and sheet.site.board == "pc" and not disk.controller
        bus = "ide" if on_ide else disk.on_bus
        if bus == "nvme" and not sheet.knows("nvme"):
            yield from _native(sheet, index, disk)
            continue
        prefix = _PREFIX.get(bus, "sd")
        number = taken[prefix] = taken.get(prefix, -1) + 1
        target = f"nvme{index}n1" if bus == "nvme" else prefix + letters(number)
        yield _disk(sheet, index, disk, bus, target)
        yield from _told(sheet, index, disk, bus)


def controllers(sheet: Sheet) -> Iterator[Part]:
    """Yield the controllers that NVMe disks are to libvirt."""
    if sheet.knows("nvme"):
        nvme = [index for index, disk in enumerate(sheet.machine.disk) if disk.on_bus == "nvme"]
        for number, index in enumerate(nvme):
            place = sheet.places.address(f"disk{index}")
            yield element("controller", place, type="nvme", index=number)


def letters(number: int) -> str:
    """Give the n-th name of a disk: a, b, … z, aa, ab, as the kernel counts."""
    return (letters(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _disk(sheet: Sheet, index: int, disk: Disk, bus: str, target: str) -> Element:
    path = disk.path or ""
    block = path.startswith("/dev/")
    rotates = None if disk.rotational or disk.media == "cdrom" or bus not in ("sata", "ide", "scsi") else 1
    removable = "on" if disk.removable and bus == "usb" else None
    # NVMe must have one; the one that qlaunch gives is kept.
    serial = disk.serial or (f"qlaunch-disk{index}" if bus == "nvme" else None)
    named = {"wwn": disk.wwn, "vendor": disk.vendor, "product": disk.product}
    return element(
        "disk",
        _driver(sheet, disk, bus),
        (element("source", dev=path) if block else element("source", file=path)) if path else None,
        element("target", dev=target, bus=bus, removable=removable, rotation_rate=rotates),
        _block_sizes(disk),
        None if disk.writable else element("readonly"),
        element("shareable") if disk.shared else None,
        element("serial", text=serial) if _SERIAL.fullmatch(serial or "") else None,
        *(element(tag, text=text) for tag, text in named.items() if text),
        sheet.boot(disk.boot_index),
        sheet.aliases.of(f"disk{index}"),
        _address(sheet, index, disk, bus),
        type="block" if block else "file",
        device=disk.media,
    )


def _driver(sheet: Sheet, disk: Disk, bus: str) -> Element:
    mapped = disk.iothreads and sheet.knows("iothread mapping")
    threads = [element("iothread", id=sheet.thread_number(name)) for name in disk.iothreads] if mapped else []
    errors = disk.on_error if disk.media == "disk" else None
    own: dict[str, int | str | None] = {}
    if bus == "virtio":
        number = None if disk.iothread is None else sheet.thread_number(disk.iothread)
        own = {"iothread": number, "queues": disk.queues, "queue_size": disk.queue_size}
        own |= {"packed": "on" if disk.packed else None}
    return element(
        "driver",
        element("iothreads", *threads) if threads else None,
        name="qemu",
        type=disk.image_format,
        cache=disk.cache,
        error_policy=errors,
        rerror_policy=errors,
        io=disk.aio,
        copy_on_read="on" if disk.copy_on_read else None,
        discard="unmap" if disk.discard else "ignore",
        detect_zeroes=None if disk.detect_zeroes == "off" else disk.detect_zeroes,
        **own,
    )


def _block_sizes(disk: Disk) -> Element | None:
    sizes = {
        "logical_block_size": disk.block_size,
        "physical_block_size": disk.physical_block_size or disk.block_size,
        "discard_granularity": disk.discard_granularity,
    }
    written = {name: int(size) for name, size in sizes.items() if size is not None}
    return element("blockio", **written) if written else None


def _address(sheet: Sheet, index: int, disk: Disk, bus: str) -> Element | None:
    site = sheet.site
    match bus:
        case "scsi":
            target = index if disk.target is None else disk.target
            kinds = [one.type for one in sheet.machine.controller if one.kind == "scsi"]
            units = kinds[disk.controller : disk.controller + 1] in (["lsi"], ["pvscsi"])  # as libvirt counts there
            return _drive(disk.controller, 0, *((0, target) if units and not disk.unit else (target, disk.unit or 0)))
        case "sata":
            unit = site.sata_disks.index(index) if disk.unit is None else disk.unit
            return _drive(disk.controller - (1 if site.board == "pc" else 0), 0, 0, unit)
        case "ide":
            number = site.sata_disks.index(index) if disk.unit is None else disk.unit
            return _drive(0, number // 2, 0, number % 2)
        case "usb":
            return sheet.usb_place(FIRST_USB_PORT + site.usb_disks.index(index), disk.usb_port, disk.controller)
        case "nvme":
            nvme = [number for number, disk in enumerate(sheet.machine.disk) if disk.on_bus == "nvme"]
            return _drive(nvme.index(index), 0, 0, 0)
        case _:
            return sheet.places.address(f"disk{index}")


def _drive(controller: int, bus: int, target: int, unit: int) -> Element:
    return element("address", type="drive", controller=controller, bus=bus, target=target, unit=unit)


def _told(sheet: Sheet, index: int, disk: Disk, bus: str) -> Iterator[Part]:
    if disk.iothreads and not sheet.knows("iothread mapping"):
        message = f"libvirt spreads a disk's queues over iothreads from {since('iothread mapping')} on"
        yield left(f"disk.{index}.iothreads", message)
    if disk.serial and not _SERIAL.fullmatch(disk.serial):
        message = (
            f"libvirt takes letters, digits, '_', '.', '+', '-' and blanks in a serial number, not {disk.serial!r}"
        )
        yield left(f"disk.{index}.serial", message)
    if disk.read_only and disk.media == "disk" and bus in ("sata", "ide"):
        message = f"libvirt refuses a read-only disk on {bus.upper()}; it is written as such all the same"
        yield changed(f"disk.{index}.read_only", message, 'put the disk on bus = "virtio" or "scsi"')


def _native(sheet: Sheet, index: int, disk: Disk) -> Iterator[Part]:
    """An emulated NVMe disk for a libvirt that does not know it: in QEMU's own words, at its place."""
    options = disk.args(sheet.site, index)
    yield Native(tuple(word for option in options for word in sheet.places.native(option)))
    message = f"libvirt emulates NVMe from {since('nvme')} on; the disk is handed to QEMU as it is"
    hint = f"libvirt does not give QEMU the right to open {disk.path}; that is yours to do"
    yield changed(f"disk.{index}.bus", message, hint)
