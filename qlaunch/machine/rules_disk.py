"""Rules of disks and the threads that serve them.

Source: ``block/file-posix.c`` (aio=native needs O_DIRECT), ``block.c`` (detect-zeroes=unmap needs discard=unmap),
``hw/block/virtio-blk.c`` and ``hw/scsi/virtio-scsi.c`` (iothread), ``hw/ide/ahci.c`` (six ports on q35),
``hw/block/block.c`` (block size).
"""

import re
from collections.abc import Iterator

from qlaunch.devices.disk import Disk
from qlaunch.devices.ports import room
from qlaunch.errors import Problem
from qlaunch.machine.model import Machine
from qlaunch.machine.rule import board_of, caution, fault, repeated
from qlaunch.machine.search import nearest

USB_DISKS = 6
# Ids under /objects that qlaunch's own parts have.
_RESERVED = re.compile(r"(tc-)?ram\d*|rng0-source|lg0-mem|iommufd0")
# Keys that mean something on these buses only.
_BUSES_OF = {
    "queues": ("virtio",),
    "queue_size": ("virtio",),
    "packed": ("virtio",),
    "removable": ("usb",),
    "rotational": ("scsi", "sata"),
    "iothreads": ("virtio",),
}
_BUSES_OF |= {
    "vendor": ("scsi",),
    "product": ("scsi",),
    "wwn": ("scsi", "sata"),
    "usb_port": ("usb",),
    "target": ("scsi",),
}
_BUSES_OF |= {"unit": ("scsi", "sata"), "controller": ("scsi", "sata", "usb"), "address": ("virtio", "nvme")}
_IOTHREAD_BUSES = ("virtio", "scsi")


def _disks(machine: Machine) -> Iterator[tuple[str, Disk]]:
    for number, disk in enumerate(machine.disk):
        yield f"disk.{number}", disk


def iothread_names_differ(machine: Machine) -> Iterator[Problem]:
    """A name is an id of QEMU."""
    names = [(f"iothread.{number}.name", thread.name) for number, thread in enumerate(machine.iothread)]
    for key, other, name in repeated(names):
        yield fault(
            "iothread-twice",
            key,
            f'"{name}" is the name of {other.rpartition(".")[0]} already',
            "give each its own name",
        )
    for key, name in names:
        if _RESERVED.fullmatch(name):
            yield fault(
                "iothread-reserved",
                key,
                f'"{name}" is the id of one of qlaunch\'s own parts',
                'use another name, such as "io0"',
            )


def iothreads_of_disks_exist(machine: Machine) -> Iterator[Problem]:
    """QEMU would say that the id is unknown."""
    known = [thread.name for thread in machine.iothread]
    for at, disk in _disks(machine):
        wanted = [(f"{at}.iothreads.{number}", name) for number, name in enumerate(disk.iothreads)]
        for key, name in [(f"{at}.iothread", disk.iothread), *wanted]:
            if name is not None and name not in known:
                near = nearest(name, known)
                hint = f"did you mean {near}?" if near else f'add [[iothread]] with name = "{name}"'
                yield fault("no-iothread", key, f'there is no [[iothread]] named "{name}"', hint)


def disks_have_one_way_to_threads(machine: Machine) -> Iterator[Problem]:
    """QEMU refuses iothread beside iothread-vq-mapping, and one thread twice in it."""
    for at, disk in _disks(machine):
        if disk.iothread and disk.iothreads:
            yield fault(
                "iothread-both", f"{at}.iothreads", "stands beside iothread", "name one thread, or a list, and not both"
            )
        for key, _, name in repeated((f"{at}.iothreads.{number}", name) for number, name in enumerate(disk.iothreads)):
            yield fault("iothread-repeated", key, f'"{name}" is in the list already', "name each thread once")
        if disk.queues and len(disk.iothreads) > disk.queues:
            message = f"has {len(disk.iothreads)} threads for {disk.queues} queues"
            yield fault(
                "iothread-queues",
                f"{at}.iothreads",
                message,
                "give at least as many queues as threads, or leave queues out",
            )


def iothreads_fit_the_bus(machine: Machine) -> Iterator[Problem]:
    """NVMe, SATA and USB disks are served by the emulator's own thread."""
    for at, disk in _disks(machine):
        if disk.iothread and disk.on_bus not in _IOTHREAD_BUSES:
            yield fault(
                "iothread-bus",
                f"{at}.iothread",
                f"a disk on the {disk.on_bus} bus cannot have one",
                'use bus = "virtio" or "scsi"',
            )


def scsi_has_one_iothread(machine: Machine) -> Iterator[Problem]:
    """The thread serves the controller, which all SCSI disks share."""
    if any(controller.kind == "scsi" for controller in machine.controller):
        for at, disk in _disks(machine):
            if disk.on_bus == "scsi" and disk.iothread:
                hint = "write it in the [[controller]]"
                yield fault("iothread-scsi", f"{at}.iothread", "is the controller's, which the file names", hint)
        return
    first = ""
    for at, disk in _disks(machine):
        if disk.on_bus == "scsi" and disk.iothread:
            first = first or disk.iothread
            if disk.iothread != first:
                hint = f'use "{first}" for all of them, or bus = "virtio"'
                yield fault(
                    "iothread-scsi",
                    f"{at}.iothread",
                    f'all SCSI disks share one controller, whose thread is "{first}"',
                    hint,
                )


def iothreads_are_used(machine: Machine) -> Iterator[Problem]:
    """A thread that serves nothing is most likely a forgotten key."""
    used = {name for disk in machine.disk for name in (disk.iothread, *disk.iothreads)}
    used |= {controller.iothread for controller in machine.controller}
    for number, thread in enumerate(machine.iothread):
        if thread.name not in used:
            yield caution(
                "iothread-unused",
                f"iothread.{number}",
                f'no disk uses "{thread.name}"',
                f'set iothread = "{thread.name}" in a [[disk]]',
            )


def native_aio_is_direct(machine: Machine) -> Iterator[Problem]:
    """Linux AIO on the page cache is not asynchronous, and QEMU refuses it."""
    for at, disk in _disks(machine):
        if disk.aio == "native" and disk.cache not in ("none", "directsync"):
            hint = 'use cache = "none", or aio = "io_uring"'
            yield fault(
                "aio-native",
                f"{at}.aio",
                f'"native" needs a cache of "none" or "directsync", and it is "{disk.cache}"',
                hint,
            )


def unmapping_zeroes_needs_discard(machine: Machine) -> Iterator[Problem]:
    """QEMU refuses one without the other."""
    for at, disk in _disks(machine):
        if disk.detect_zeroes == "unmap" and not disk.discard:
            yield fault(
                "zeroes-unmap",
                f"{at}.detect_zeroes",
                '"unmap" needs discard = true',
                'add it, or use detect_zeroes = "on"',
            )


def cdroms_have_a_drive(machine: Machine) -> Iterator[Problem]:
    """There are ATAPI and SCSI drives, and no others; only they can be empty."""
    for at, disk in _disks(machine):
        if disk.path is None and disk.media == "disk":
            yield fault("no-path", f"{at}.path", "is missing", "write a path; only a CD-ROM drive may be empty")
    for at, disk in _disks(machine):
        if disk.media == "cdrom" and disk.on_bus not in ("sata", "scsi"):
            yield fault(
                "cdrom-bus",
                f"{at}.bus",
                f"there is no CD-ROM drive on the {disk.on_bus} bus",
                'leave it out for "sata", or use "scsi"',
            )


def keys_fit_the_bus(machine: Machine) -> Iterator[Problem]:
    """A key that does nothing is a misunderstanding."""
    for at, disk in _disks(machine):
        for name, buses in _BUSES_OF.items():
            if getattr(disk, name) not in (None, False, 0, [], "") and disk.on_bus not in buses:
                wanted = " and ".join(buses)
                yield fault(
                    "disk-key",
                    f"{at}.{name}",
                    f"is for disks on {wanted}, and this one is on {disk.on_bus}",
                    "take it out",
                )
        if disk.port is not None and disk.on_bus not in ("virtio", "nvme"):
            yield fault(
                "disk-key",
                f"{at}.port",
                f"is for disks on virtio and nvme, and this one is on {disk.on_bus}",
                "take it out",
            )
        if disk.on_error and disk.on_bus == "nvme":
            yield fault(
                "disk-key",
                f"{at}.on_error",
                "an NVMe disk reports every error to the guest",
                "take it out, or use another bus",
            )


def block_size_is_a_power_of_two(machine: Machine) -> Iterator[Problem]:
    """512 bytes to 2 MiB; IDE and SATA know 512 only (hw/ide/qdev.c)."""
    for at, disk in _disks(machine):
        size = disk.block_size
        if size is None:
            continue
        if not 512 <= size <= 2 << 20 or size & (size - 1):
            yield fault(
                "block-size", f"{at}.block_size", f"{size} is not a power of two from 512B to 2M", 'use "512B" or "4K"'
            )
        elif size != 512 and disk.on_bus == "sata":
            yield fault(
                "block-size",
                f"{at}.block_size",
                f"a SATA disk has blocks of 512 bytes, not {size}",
                "take it out, or use another bus",
            )


def disks_find_room(machine: Machine) -> Iterator[Problem]:
    """SATA ports, USB ports and SCSI numbers are few; the other buses are in the rule of places."""
    board = board_of(machine)
    limits = {"sata": 6 if board == "q35" else 4, "usb": USB_DISKS, "scsi": room(board, "disk") * 8}
    for bus, limit in limits.items():
        numbers = [number for number, disk in enumerate(machine.disk) if disk.on_bus == bus]
        if len(numbers) > limit:
            message = f"is disk {limit + 1} on the {bus} bus, which has {limit} places on {board}"
            yield fault("disk-room", f"disk.{numbers[limit]}", message, "put it on another bus")


def images_are_used_once(machine: Machine) -> Iterator[Problem]:
    """QEMU locks an image that is written; two that only read may share one."""
    for key, other, path in repeated((f"{at}.path", disk.path) for at, disk in _disks(machine)):
        both = [machine.disk[int(place.split(".")[1])] for place in (key, other)]
        if any(disk.writable for disk in both):
            yield fault(
                "image-twice",
                key,
                f'"{path}" is the image of {other.rpartition(".")[0]} already',
                "use another image, or read_only for both",
            )


RULES = (
    *(iothread_names_differ, iothreads_of_disks_exist, disks_have_one_way_to_threads, iothreads_fit_the_bus),
    *(scsi_has_one_iothread, iothreads_are_used, native_aio_is_direct, unmapping_zeroes_needs_discard),
    *(cdroms_have_a_drive, keys_fit_the_bus, block_size_is_a_power_of_two, disks_find_room, images_are_used_once),
)
