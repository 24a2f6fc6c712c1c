"""``[[disk]]``: images, block devices and CD-ROMs, and how the guest sees them.

Source: ``qapi/block-core.json`` (BlockdevOptions), ``docs/system/qemu-block-drivers.rst.inc``,
``hw/block/virtio-blk.c``, ``hw/nvme/ctrl.c`` (a serial is required), ``hw/ide/qdev.c``.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from qlaunch.devices.arg import Arg, Value, blockdev, device
from qlaunch.devices.ports import Port
from qlaunch.devices.section import Section
from qlaunch.devices.site import Controller, Site
from qlaunch.values.guest import GuestAddress
from qlaunch.values.size import Size

Serial = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]  # what the guest's interface holds
BootIndex = Annotated[int, msgspec.Meta(ge=0, le=2147483647)]
PlaceNumber = Annotated[int, msgspec.Meta(ge=0, le=31)]
ControllerNumber = Annotated[int, msgspec.Meta(ge=0, le=31)]
# Ports of the guest's own controller, and those of hubs below them.
GuestPort = Annotated[
    str,
    msgspec.Meta(pattern=r"^[0-9]{1,2}(\.[0-9]{1,2}){0,4}$", description="a port of the guest's, as in '3' or '1.2'"),
]
Wwn = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{16}$", description="16 hexadecimal digits")]
Word16 = Annotated[str, msgspec.Meta(min_length=1, max_length=16)]
FIRST_USB_PORT = 10  # [[usb]] has the ports before

_FORMATS = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vdi": "vdi", ".vhdx": "vhdx", ".vhd": "vpc"}


class Disk(Section, frozen=True, kw_only=True):
    """One disk. The format is told by the file's name and never guessed from its content, which the guest writes."""

    path: str | None = None  # only a CD-ROM drive may be empty
    bus: Literal["virtio", "scsi", "nvme", "sata", "usb"] | None = None  # virtio, or sata for a CD-ROM
    media: Literal["disk", "cdrom"] = "disk"
    format: Literal["raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc"] | None = None
    iothread: str | None = None
    iothreads: list[str] = []
    cache: Literal["none", "writeback", "writethrough", "directsync", "unsafe"] = "none"
    aio: Literal["io_uring", "native", "threads"] = "threads"
    discard: bool = False
    detect_zeroes: Literal["off", "on", "unmap"] = "off"
    serial: Serial | None = None
    wwn: Wwn | None = None
    vendor: Word16 | None = None
    product: Word16 | None = None
    queues: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None
    queue_size: Annotated[int, msgspec.Meta(ge=2, le=1024)] | None = None
    packed: bool = False
    read_only: bool = False
    shared: bool = False  # other machines write it too
    copy_on_read: bool = False
    removable: bool = False
    rotational: bool = False
    block_size: Size | None = None
    physical_block_size: Size | None = None
    discard_granularity: Size | None = None
    on_error: Literal["report", "stop", "ignore"] | None = None
    boot_index: BootIndex | None = None
    controller: ControllerNumber = 0  # for disks on scsi, sata and usb
    target: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    unit: Annotated[int, msgspec.Meta(ge=0, le=16383)] | None = None
    usb_port: GuestPort | None = None
    port: PlaceNumber | None = None
    address: GuestAddress | None = None

    @property
    def on_bus(self) -> str:
        """The bus, with its default filled in."""
        return self.bus or ("sata" if self.media == "cdrom" else "virtio")

    @property
    def image_format(self) -> str:
        """The image format: as written, or by the file's suffix, or raw."""
        path = self.path or ""
        suffix = path[path.rfind(".") :].lower()
        return self.format or _FORMATS.get(suffix, "raw")

    @property
    def writable(self) -> bool:
        """Whether the guest may write."""
        return not self.read_only and self.media == "disk"

    def needs(self) -> frozenset[Controller]:
        """A SCSI or USB disk needs its controller."""
        match self.on_bus:
            case "scsi":
                return frozenset({"scsi"})
            case "usb":
                return frozenset({"usb"})
            case _:
                return frozenset()

    def args(self, site: Site, index: int) -> Iterator[Arg]:
        """Yield the block nodes and the guest's device."""
        node = f"disk{index}-image"
        if self.path is not None:
            yield from self._nodes(node, self.path)
        errors = {"report": "report", "stop": "stop", "ignore": "ignore", None: None}[self.on_error]
        shared: dict[str, Value] = {
            "drive": None if self.path is None else node,
            "bootindex": self.boot_index,
            "logical_block_size": _bytes(self.block_size),
            "physical_block_size": _bytes(self.physical_block_size or self.block_size),
            "discard_granularity": _bytes(self.discard_granularity),
            "share-rw": self.shared or None,
            "werror": errors if self.media == "disk" else None,
            "rerror": errors if self.media == "disk" else None,
            "write-cache": ("on" if self.cache in ("none", "writeback", "unsafe") else "off")
            if self.writable
            else None,
        }
        yield self._device(site, index, shared)

    def _nodes(self, node: str, path: str) -> Iterator[Arg]:
        cache = {"direct": self.cache in ("none", "directsync"), "no-flush": self.cache == "unsafe"}
        layer: dict[str, Value] = {
            "read-only": not self.writable,
            "cache": dict(cache),
            "discard": "unmap" if self.discard else None,
        }
        zeroes: dict[str, Value] = {"detect-zeroes": None if self.detect_zeroes == "off" else self.detect_zeroes}
        protocol = "host_device" if path.startswith("/dev/") else "file"
        if self.media == "cdrom" and protocol == "host_device":
            protocol = "host_cdrom"
        lowest = f"{node}-plain" if self.copy_on_read else node
        if self.image_format == "raw":
            yield blockdev(protocol, lowest, filename=path, aio=self.aio, **layer, **zeroes)
        else:
            yield blockdev(protocol, f"{node}-file", filename=path, aio=self.aio, **layer)
            yield blockdev(self.image_format, lowest, file=f"{node}-file", **layer, **zeroes)
        if self.copy_on_read:
            yield blockdev("copy-on-read", node, file=lowest, **{"read-only": not self.writable})

    def _device(self, site: Site, index: int, shared: dict[str, Value]) -> Arg:
        name = f"disk{index}"
        place = Port("disk", index if self.port is None else self.port)
        rotation = None if self.rotational else 1  # 1 means that nothing rotates (ATA ACS-3, word 217)
        kind = "cd" if self.media == "cdrom" else "hd"
        rate: dict[str, Value] = {} if kind == "cd" else {"rotation_rate": rotation}
        match self.on_bus:
            case "virtio":
                mapping: Value = [{"iothread": thread} for thread in self.iothreads] or None
                threads: dict[str, Value] = {"iothread": self.iothread, "iothread-vq-mapping": mapping}
                queues: dict[str, Value] = {
                    "num-queues": self.queues,
                    "queue-size": self.queue_size,
                    "packed": self.packed or None,
                    "serial": self.serial,
                }
                where = site.on(place, address=self.address)
                return device("virtio-blk-pci", name, **shared, **threads, **queues, **where)
            case "nvme":
                serial = self.serial or f"qlaunch-{name}"
                return device(
                    "nvme", name, **_without_error_policy(shared), serial=serial, **site.on(place, address=self.address)
                )
            case "scsi":
                return device(
                    f"scsi-{kind}",
                    name,
                    **shared,
                    **rate,
                    serial=self.serial,
                    **self._identity(),
                    bus=f"scsi{self.controller}.0",
                    lun=self.unit or 0,
                    **{"scsi-id": index if self.target is None else self.target},
                )
            case "usb":
                spot = site.usb_place(FIRST_USB_PORT + site.usb_disks.index(index), self.usb_port, self.controller)
                own: dict[str, Value] = {"removable": self.removable, "serial": self.serial}
                return device("usb-storage", name, **shared, **own, **spot)
            case _:
                return device(f"ide-{kind}", name, **shared, **rate, serial=self.serial, **self._sata(site, index))

    def _identity(self) -> dict[str, Value]:
        """Give what a SCSI disk says of itself."""
        wwn = None if self.wwn is None else int(self.wwn, 16)
        return {"wwn": wwn, "vendor": self.vendor, "product": self.product}

    def _sata(self, site: Site, index: int) -> dict[str, Value]:
        """Give the place on the built-in controller, or on one that the file names."""
        wwn: dict[str, Value] = {"wwn": None if self.wwn is None else int(self.wwn, 16)}
        if self.unit is None:
            return {**wwn, **site.sata_place(index)}
        if self.controller:
            return {**wwn, "bus": f"sata{self.controller - 1}.{self.unit}"}
        if site.board == "q35":
            return {**wwn, "bus": f"ide.{self.unit}"}
        return {**wwn, "bus": f"ide.{self.unit // 2}", "unit": self.unit % 2}


def _bytes(size: Size | None) -> int | None:
    return None if size is None else int(size)


def _without_error_policy(shared: dict[str, Value]) -> dict[str, Value]:
    """The nvme device reports every error to the guest: it has no werror and no rerror (hw/nvme/ctrl.c)."""
    return {key: value for key, value in shared.items() if key not in ("werror", "rerror", "write-cache", "share-rw")}
