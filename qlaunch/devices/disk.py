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
from qlaunch.values.size import Size

Serial = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]  # what the guest's interface holds
BootIndex = Annotated[int, msgspec.Meta(ge=0, le=2147483647)]
PlaceNumber = Annotated[int, msgspec.Meta(ge=0, le=31)]
FIRST_USB_PORT = 10  # [[usb]] has the ports before

_FORMATS = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vdi": "vdi", ".vhdx": "vhdx", ".vhd": "vpc"}


class Disk(Section, frozen=True, kw_only=True):
    """One disk. The format is told by the file's name and never guessed from its content, which the guest writes."""

    path: str
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
    queues: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None
    read_only: bool = False
    removable: bool = False
    rotational: bool = False
    block_size: Size | None = None
    on_error: Literal["report", "stop", "ignore"] | None = None
    boot_index: BootIndex | None = None
    port: PlaceNumber | None = None

    @property
    def on_bus(self) -> str:
        """The bus, with its default filled in."""
        return self.bus or ("sata" if self.media == "cdrom" else "virtio")

    @property
    def image_format(self) -> str:
        """The image format: as written, or by the file's suffix, or raw."""
        suffix = self.path[self.path.rfind(".") :].lower()
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
        yield from self._nodes(node)
        errors = {"report": "report", "stop": "stop", "ignore": "ignore", None: None}[self.on_error]
        shared: dict[str, Value] = {
            "drive": node,
            "bootindex": self.boot_index,
            "logical_block_size": self.block_size and int(self.block_size),
            "physical_block_size": self.block_size and int(self.block_size),
            "werror": errors if self.media == "disk" else None,
            "rerror": errors if self.media == "disk" else None,
            "write-cache": ("on" if self.cache in ("none", "writeback", "unsafe") else "off")
            if self.writable
            else None,
        }
        yield self._device(site, index, shared)

    def _nodes(self, node: str) -> Iterator[Arg]:
        cache = {"direct": self.cache in ("none", "directsync"), "no-flush": self.cache == "unsafe"}
        layer: dict[str, Value] = {
            "read-only": not self.writable,
            "cache": dict(cache),
            "discard": "unmap" if self.discard else None,
        }
        zeroes: dict[str, Value] = {"detect-zeroes": None if self.detect_zeroes == "off" else self.detect_zeroes}
        protocol = "host_device" if self.path.startswith("/dev/") else "file"
        if self.media == "cdrom" and protocol == "host_device":
            protocol = "host_cdrom"
        if self.image_format == "raw":
            yield blockdev(protocol, node, filename=self.path, aio=self.aio, **layer, **zeroes)
            return
        yield blockdev(protocol, f"{node}-file", filename=self.path, aio=self.aio, **layer)
        yield blockdev(self.image_format, node, file=f"{node}-file", **layer, **zeroes)

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
                queues: dict[str, Value] = {"num-queues": self.queues, "serial": self.serial}
                return device("virtio-blk-pci", name, **shared, **threads, **queues, **site.on(place))
            case "nvme":
                serial = self.serial or f"qlaunch-{name}"
                return device("nvme", name, **_without_error_policy(shared), serial=serial, **site.on(place))
            case "scsi":
                return device(
                    f"scsi-{kind}",
                    name,
                    **shared,
                    **rate,
                    serial=self.serial,
                    bus="scsi0.0",
                    lun=0,
                    **{"scsi-id": index},
                )
            case "usb":
                port = str(FIRST_USB_PORT + site.usb_disks.index(index))
                return device(
                    "usb-storage", name, **shared, removable=self.removable, serial=self.serial, bus="usb0.0", port=port
                )
            case _:
                return device(f"ide-{kind}", name, **shared, **rate, serial=self.serial, **site.sata_place(index))


def _without_error_policy(shared: dict[str, Value]) -> dict[str, Value]:
    """The nvme device reports every error to the guest: it has no werror and no rerror (hw/nvme/ctrl.c)."""
    return {key: value for key, value in shared.items() if key not in ("werror", "rerror", "write-cache")}
