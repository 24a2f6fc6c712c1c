"""What the host uses its block devices for: mounts, swap, membership in volumes.

btrfs and ZFS show an invented device number, so their source is looked up by name.

Source: ``proc_swaps(5)``, ``Documentation/ABI/testing/sysfs-class-block`` of the kernel (holders).
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from qlaunch.host.mounts import read_mounts, unescaped
from qlaunch.host.tree import Tree

UseKind = Literal["root", "boot", "mounted", "swap", "lvm", "luks", "raid", "zfs", "bcache", "held"]

_MEMBERS: dict[str, UseKind] = {
    "LVM2_member": "lvm",
    "crypto_LUKS": "luks",
    "linux_raid_member": "raid",
    "zfs_member": "zfs",
    "bcache": "bcache",
}
_BOOT = ("/boot", "/efi", "/boot/efi", "/boot/firmware")


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One use: ``root`` at ``/``, ``lvm`` with the volume above, and so on."""

    kind: UseKind
    detail: str = ""

    @property
    def in_use(self) -> bool:
        """Whether the host would miss the device now; a member that nothing has opened may be a guest's own."""
        return self.kind in ("root", "boot", "mounted", "swap", "held") or bool(self.detail)


def find_uses(tree: Tree, devices: Mapping[str, tuple[str, str | None, str | None]]) -> Iterator[tuple[str, Use]]:
    """Yield each device's name with a use of it; ``devices`` gives number, mapper name and content by name."""
    numbers = {number: name for name, (number, _, _) in devices.items() if number}
    volumes = {volume: name for name, (_, volume, _) in devices.items() if volume}
    pools = set(_pools(tree))
    mounts = read_mounts(tree)
    for mount in mounts:
        if mount.kind == "zfs":
            pools.add(mount.source.partition("/")[0])
        name = numbers.get(mount.number) or _named(tree, mount.source, devices, volumes)
        if name:
            yield name, Use(kind=_mount_kind(mount.point), detail=mount.point)
    for line in tree.lines("/proc/swaps")[1:]:
        name = _named(tree, unescaped(line.split()[0]) if line.split() else "", devices, volumes)
        if name:
            yield name, Use(kind="swap")
    root_on_zfs = any(mount.point == "/" and mount.kind == "zfs" for mount in mounts)
    for name, (_, _, content) in devices.items():
        yield from ((name, use) for use in _memberships(tree, name, content, pools, root_on_zfs=root_on_zfs))


def _memberships(tree: Tree, name: str, content: str | None, pools: set[str], *, root_on_zfs: bool) -> Iterator[Use]:
    holders = tree.listdir(f"/sys/class/block/{name}/holders")
    kind = _MEMBERS.get(content or "")
    if kind == "zfs":
        # ZFS holds its disks without a trace in /sys; which pool a disk is of only ZFS itself tells.
        yield Use(kind="zfs", detail=", ".join(sorted(pools)))
        if root_on_zfs:
            yield Use(kind="root", detail="/")
    elif kind:
        yield Use(kind=kind, detail=", ".join(holders))
    elif holders:
        yield Use(kind="held", detail=", ".join(holders))


def _pools(tree: Tree) -> list[str]:
    """Give the pools of ZFS that are imported, mounted or not: their folders stand among files of statistics."""
    folder = "/proc/spl/kstat/zfs"
    return [name for name in tree.listdir(folder) if tree.exists(f"{folder}/{name}/state")]


def _mount_kind(point: str) -> UseKind:
    return "root" if point == "/" else "boot" if point in _BOOT else "mounted"


def _named(
    tree: Tree,
    source: str,
    devices: Mapping[str, tuple[str, str | None, str | None]],
    volumes: Mapping[str, str],
) -> str | None:
    """Give the kernel's name for ``/dev/sda2``, ``/dev/mapper/vg0-root`` or a link such as ``/dev/disk/by-uuid/…``."""
    if not source.startswith("/dev/"):
        return None
    plain = source.removeprefix("/dev/").replace("/", "!")
    if plain in devices:
        return plain
    if source.startswith("/dev/mapper/") and (name := volumes.get(source.removeprefix("/dev/mapper/"))):
        return name
    linked = tree.linked_name(source)
    return linked if linked in devices else None
