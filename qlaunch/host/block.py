"""Disks and what they carry, so that nobody gives the host's own to a guest.

A use (``/`` mounted, swap, a member of something) is found on one device and then handed down: from a volume to the
partitions below it, and to their disk.

Source: ``proc_pid_mountinfo(5)``, ``proc_swaps(5)``, the kernel's ``Documentation/ABI/stable/sysfs-block``; what is on
a device comes from udev's database (``/run/udev/data/bMAJOR:MINOR``), which needs no root.
"""

import msgspec

from qlaunch.host.block_uses import Use, find_uses
from qlaunch.host.pci import last_pci_address
from qlaunch.host.tree import Tree
from qlaunch.values.pci import PciAddress

_FOLDER = "/sys/class/block"
# sysfs counts in sectors of 512 bytes, whatever the disk's own are (Documentation/ABI/stable/sysfs-block).
_SECTOR = 512
# Never a disk that a host could lose.
_SKIPPED = ("ram", "loop", "zram")


class BlockDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A disk, a partition, or a volume made of those."""

    name: str
    """As the kernel calls it: ``nvme0n1p2``, ``dm-0``."""
    number: str = ""
    """``259:2``."""
    size: int | None = None
    """Bytes."""
    disk: str | None = None
    """Of a partition, the disk that it is on."""
    below: tuple[str, ...] = ()
    """Of a volume, the devices that it is made of."""
    volume: str | None = None
    """What the device mapper calls it: ``vg0-root``."""
    controllers: tuple[PciAddress, ...] = ()
    """The PCI functions that it hangs on; a disk with several ways has several."""
    removable: bool = False
    content: str | None = None
    """What udev found on it: ``ext4``, ``LVM2_member``, ``crypto_LUKS``, ``zfs_member``, ``linux_raid_member``."""
    uses: tuple[Use, ...] = ()
    """By the host, of this device or of anything on it."""

    @property
    def path(self) -> str:
        """Where it is in /dev."""
        return f"/dev/{self.name.replace('!', '/')}"


class BlockFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Every disk, partition and volume."""

    devices: tuple[BlockDevice, ...] = ()

    def get(self, name: str) -> BlockDevice | None:
        """Give a device by the kernel's name."""
        return next((device for device in self.devices if device.name == name), None)

    def on(self, address: str) -> tuple[BlockDevice, ...]:
        """Give the devices that hang on a PCI function."""
        return tuple(device for device in self.devices if address in device.controllers)


def read_blocks(tree: Tree) -> BlockFacts:
    """Read every device, and hand uses down to what carries them."""
    names = [name for name in tree.listdir(_FOLDER) if not name.startswith(_SKIPPED)]
    devices = {name: _device(tree, name) for name in names}
    for name in names:
        if (device := devices[name]).disk in devices:
            parent = devices[device.disk]
            devices[name] = msgspec.structs.replace(device, controllers=parent.controllers, removable=parent.removable)
    uses: dict[str, dict[Use, None]] = {name: {} for name in names}
    for name, use in find_uses(tree, {name: (one.number, one.volume, one.content) for name, one in devices.items()}):
        _hand_down(name, use, devices, uses)
    return BlockFacts(devices=tuple(msgspec.structs.replace(devices[name], uses=tuple(uses[name])) for name in names))


def _hand_down(name: str, use: Use, devices: dict[str, BlockDevice], uses: dict[str, dict[Use, None]]) -> None:
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in devices and use not in uses[one]:
            uses[one][use] = None
            waiting += [*devices[one].below, *([parent] if (parent := devices[one].disk) else [])]


def _device(tree: Tree, name: str) -> BlockDevice:
    folder = f"{_FOLDER}/{name}"
    link = tree.readlink(folder)
    number = tree.read(f"{folder}/dev") or ""
    sectors = tree.number(f"{folder}/size")
    partition = tree.exists(f"{folder}/partition")
    mapped = name.startswith("dm-")
    own = last_pci_address(link)
    return BlockDevice(
        name=name,
        number=number,
        size=None if sectors is None else sectors * _SECTOR,
        disk=(link or "").rstrip("/").split("/")[-2] if partition and (link or "").count("/") else None,
        below=() if partition else tuple(tree.listdir(f"{folder}/slaves")),
        volume=tree.label(f"{folder}/dm/name") if mapped else None,
        controllers=(own,) if own else _shared_nvme(tree, link),
        removable=not partition and tree.number(f"{folder}/removable") == 1,
        content=_content(tree, number),
    )


def _content(tree: Tree, number: str) -> str | None:
    found = tree.properties(f"/run/udev/data/b{number}", ["E:ID_FS_TYPE"]) if number else {}
    return found.get("E:ID_FS_TYPE") or None


def _shared_nvme(tree: Tree, link: str | None) -> tuple[PciAddress, ...]:
    """Follow an NVMe namespace that several controllers may reach: it hangs on a virtual subsystem."""
    parts = (link or "").split("/")
    subsystem = next((part for part in parts if part.startswith("nvme-subsys") and part[-1].isdigit()), None)
    if subsystem is None:
        return ()
    names = tree.listdir(f"/sys/class/nvme-subsystem/{subsystem}")
    ways = (last_pci_address(tree.readlink(f"/sys/class/nvme/{name}")) for name in names if _controller(name))
    return tuple(sorted(way for way in ways if way))


def _controller(name: str) -> bool:
    return name.startswith("nvme") and name[4:].isdigit()
