"""Which processes hold devices open, by PCI address. A driver that lets go of a held device can hang for ever.

Source: ``proc_pid_fd(5)``; how each kind of node is named is udev's and the kernel's custom, and each has its class in
/sys, whose link tells the PCI function. Memory that is still mapped after its file was closed is not seen.
"""

from collections.abc import Iterator

import msgspec

from qlaunch.host.pci import last_pci_address
from qlaunch.host.tree import Tree, whole_number
from qlaunch.values.pci import PciAddress

# What a path below /dev begins with, and the class of /sys that has its last name.
_CLASSES = (
    ("dri/", "drm"),
    ("snd/", "sound"),
    ("input/", "input"),
    ("i2c-", "i2c-dev"),
    ("hidraw", "hidraw"),
    ("fb", "graphics"),
    ("video", "video4linux"),
    ("media", "media"),
    ("vfio/devices/", "vfio-dev"),
    ("nvme", "block"),
    ("sd", "block"),
    ("sr", "block"),
    ("vd", "block"),
    ("accel/", "accel"),
)


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A process and one device that it holds open."""

    pid: int
    name: str
    path: str
    addresses: tuple[PciAddress, ...]


class Holders(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and how many processes could not be looked into: another user's, when not root."""

    found: tuple[Holder, ...] = ()
    unread: int = 0

    def of(self, address: str) -> tuple[Holder, ...]:
        """Give the holders of one PCI function."""
        return tuple(holder for holder in self.found if address in holder.addresses)


def read_holders(tree: Tree) -> Holders:
    """Look at every open file of every process; a process that ends meanwhile holds nothing."""
    known: dict[str, tuple[PciAddress, ...]] = {}
    found: list[Holder] = []
    unread = 0
    for pid in sorted(number for name in tree.listdir("/proc") if (number := whole_number(name)) is not None):
        names = tree.names(f"/proc/{pid}/fd")
        if names is None:
            unread += tree.exists(f"/proc/{pid}")
            continue
        for path in _device_paths(tree, pid, names):
            if path not in known:
                known[path] = device_addresses(tree, path)
            if known[path]:
                comm = tree.label(f"/proc/{pid}/comm") or "?"
                found.append(Holder(pid=pid, name=comm, path=path, addresses=known[path]))
    return Holders(found=tuple(found), unread=unread)


def _device_paths(tree: Tree, pid: int, names: list[str]) -> Iterator[str]:
    targets = (tree.readlink(f"/proc/{pid}/fd/{name}", below="/dev/") for name in names)
    yield from sorted({target for target in targets if target})


def device_addresses(tree: Tree, path: str) -> tuple[PciAddress, ...]:
    """Give the PCI functions behind a path in /dev; none for terminals and the like."""
    name = path.removeprefix("/dev/")
    last = name.rpartition("/")[2]
    if name.startswith("nvidia"):
        return _nvidia(tree, name)
    if name.startswith("vfio/") and last.isdigit():
        members = tree.listdir(f"/sys/kernel/iommu_groups/{last}/devices")
        return tuple(PciAddress(member) for member in members if last_pci_address(member))
    if name.startswith("bus/usb/"):
        return _usb(tree, name)
    if name == "kfd":
        cards = (last_pci_address(tree.readlink(f"/sys/class/drm/{card}")) for card in tree.listdir("/sys/class/drm"))
        return tuple(sorted({card for card in cards if card and _driver(tree, card) == "amdgpu"}))
    kind = next((kind for prefix, kind in _CLASSES if name.startswith(prefix)), None)
    address = last_pci_address(tree.readlink(f"/sys/class/{kind}/{last}")) if kind else None
    return (address,) if address else ()


def _driver(tree: Tree, address: PciAddress) -> str | None:
    return tree.linked_name(f"/sys/bus/pci/devices/{address}/driver")


def _nvidia(tree: Tree, name: str) -> tuple[PciAddress, ...]:
    """Give the card of nvidiaN; nvidiactl, nvidia-uvm and nvidia-modeset are of all cards."""
    folder = "/proc/driver/nvidia/gpus"
    cards = [PciAddress(card.lower()) for card in tree.listdir(folder)]
    minor = name.removeprefix("nvidia")
    if not minor.isdigit():
        return tuple(cards)
    return tuple(card for card in cards if _minor(tree, f"{folder}/{card}/information") == int(minor))


def _minor(tree: Tree, path: str) -> int | None:
    line = next((line for line in tree.lines(path) if line.startswith("Device Minor:")), "")
    return whole_number(line.partition(":")[2])


def _usb(tree: Tree, name: str) -> tuple[PciAddress, ...]:
    """Give the controller of bus/usb/BBB/DDD."""
    bus = whole_number(name.split("/")[2]) if name.count("/") == 3 else None
    address = last_pci_address(tree.readlink(f"/sys/bus/usb/devices/usb{bus}")) if bus else None
    return (address,) if address else ()
