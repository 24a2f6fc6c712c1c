"""What a machine asks of QEMU that this QEMU lacks, each with the version that has it.

Source: the first versions are those whose QMP replies first name a thing, of 7.2 and 8.0 to 10.0.
"""

from collections.abc import Iterator

from qlaunch.devices.arg import Arg
from qlaunch.errors import Problem
from qlaunch.host.qemu import QemuFacts

# The drivers whose properties are asked for, so that a cached answer can be checked against.
DRIVERS = (
    *(
        "VGA",
        "e1000e",
        "hda-duplex",
        "hda-micro",
        "hda-output",
        "i6300esb",
        "ich9-intel-hda",
        "ide-cd",
        "ide-hd",
        "igb",
    ),
    *(
        "isa-debugcon",
        "isa-serial",
        "ivshmem-plain",
        "nvme",
        "pcie-root-port",
        "pvpanic",
        "qemu-xhci",
        "qxl-vga",
        "rtl8139",
    ),
    *("scsi-cd", "scsi-hd", "tpm-crb", "tpm-tis", "usb-audio", "usb-host", "usb-storage", "usb-tablet", "vfio-pci"),
    *("vhost-user-fs-pci", "virtio-9p-pci", "virtio-balloon-pci", "virtio-blk-pci", "virtio-keyboard-pci"),
    *(
        "virtio-mouse-pci",
        "virtio-net-pci",
        "virtio-rng-pci",
        "virtio-scsi-pci",
        "virtio-serial-pci",
        "virtio-sound-pci",
    ),
    *("virtio-vga", "virtserialport"),
)
_SINCE = {
    "igb": "8.0",
    "virtio-sound-pci": "8.2",
    "iothread-vq-mapping": "9.0",
    "iommufd": "9.0",
    "pipewire": "8.1",
}
_UNASKED = ("driver", "id", "bus", "iommufd")  # the last one is told of by its object
# Devices that distributions put into packages of their own; the package differs, its name holds one of these words.
_PACKAGED = {"qxl-vga": "spice", "usb-host": "usb", "virtio-vga": "gui"}


def lacks(args: list[Arg], qemu: QemuFacts | None) -> Iterator[Problem]:
    """Yield a problem for each device or property that this QEMU does not have."""
    if qemu is None:
        return
    version = ".".join(map(str, qemu.version))
    for arg in args:
        if arg.flag == "object" and arg.get("qom-type") == "iommufd" and "iommufd" not in qemu.objects:
            yield _lack("iommufd, by which host.iommu_backend hands devices over", "iommufd", version)
        driver = arg.get("driver")
        if arg.flag == "device" and isinstance(driver, str) and driver in DRIVERS:
            if not qemu.has_device(driver):
                yield _lack(f"device {driver}", driver, version)
                continue
            assert isinstance(arg.body, dict)  # noqa: S101 - it has a driver
            present = (key for key, value in arg.body.items() if value is not None and key not in _UNASKED)
            for key in present:
                if not qemu.has_property(driver, key):
                    yield _lack(f"property {key} of {driver}", key, version)
        if arg.flag == "audiodev" and driver == "pipewire" and qemu.version < (8, 1, 0):
            yield _lack("audio back end pipewire", "pipewire", version)


def _lack(what: str, name: str, version: str) -> Problem:
    since = _SINCE.get(name)
    if since:
        message, hint = f"QEMU {version} has no {what}; {since} has it", f"use QEMU {since} or newer, in qemu.binary"
    else:
        package = _PACKAGED.get(name)
        where = f"a package of QEMU with '{package}' in its name" if package else "its module package"
        message, hint = f"this QEMU {version} has no {what}", f"install {where}, or use a newer QEMU"
    return Problem(code="qemu-lacks", message=message, hint=hint)
