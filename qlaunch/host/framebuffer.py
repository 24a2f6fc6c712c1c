"""What shows the host's own picture: framebuffers, consoles, graphics cards, and who sits on which BAR.

Source: the kernel's ``Documentation/fb/framebuffer.rst``, ``Documentation/fb/fbcon.rst`` (vtcon) and
``Documentation/gpu/drm-uapi.rst``; ``/proc/iomem`` nests owners by two blanks a level, and shows zeros to all but root.
"""

import re

import msgspec

from qlaunch.host.pci import last_pci_address, pci_addresses
from qlaunch.host.tree import Tree, whole_number
from qlaunch.values.pci import PciAddress

# Platform drivers that draw into a framebuffer which the firmware left, by their names in /sys and in /proc/iomem.
_FIRMWARE_DRIVERS = ("efi-framebuffer", "simple-framebuffer", "vesa-framebuffer", "vga16fb")
BOOT_HOLDERS = ("BOOTFB", "efifb", "simplefb", "simpledrm", "simple-framebuffer", "vesafb", "vesa", "vga16fb")
_CONNECTOR = re.compile(r"(card\d+)-(.+)", re.ASCII)
_CARD = re.compile(r"card\d+", re.ASCII)


class BarHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A name in /proc/iomem inside a PCI function's memory."""

    address: PciAddress
    holder: str
    start: int = 0
    end: int = 0
    """Both 0 when the kernel hides addresses."""

    @property
    def boot(self) -> bool:
        """Whether it is a framebuffer that the firmware left."""
        return self.holder in BOOT_HOLDERS


class Framebuffer(msgspec.Struct, frozen=True, kw_only=True):
    """One /dev/fbN."""

    number: int
    name: str | None = None
    controller: PciAddress | None = None


class VtConsole(msgspec.Struct, frozen=True, kw_only=True):
    """One /sys/class/vtconsole/vtconN."""

    number: int
    name: str | None = None
    bound: bool = False


class GraphicsCard(msgspec.Struct, frozen=True, kw_only=True):
    """One /dev/dri/cardN, and where screens are plugged in."""

    name: str
    controller: PciAddress | None = None
    connected: tuple[str, ...] = ()
    """Connectors, ``HDMI-A-1``."""


class FramebufferFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All that may draw."""

    framebuffers: tuple[Framebuffer, ...] = ()
    consoles: tuple[VtConsole, ...] = ()
    cards: tuple[GraphicsCard, ...] = ()
    firmware: tuple[str, ...] = ()
    """Bound platform devices, ``efi-framebuffer/efi-framebuffer.0``."""
    holders: tuple[BarHolder, ...] = ()


def read_framebuffers(tree: Tree) -> FramebufferFacts:
    """Read them."""
    return FramebufferFacts(
        framebuffers=tuple(_framebuffers(tree)),
        consoles=tuple(_consoles(tree)),
        cards=_cards(tree),
        firmware=tuple(_firmware(tree)),
        holders=read_bar_holders(tree),
    )


def read_bar_holders(tree: Tree) -> tuple[BarHolder, ...]:
    """Read who claims memory of which PCI function: its driver, and anything that came before it."""
    found: list[BarHolder] = []
    # The open PCI functions above the current line: (depth, address).
    above: list[tuple[int, PciAddress]] = []
    for line in tree.lines("/proc/iomem"):
        span, _, name = line.strip().partition(" : ")
        depth = len(line) - len(line.lstrip(" "))
        while above and above[-1][0] >= depth:
            above.pop()
        own = pci_addresses(name)
        if own:
            above.append((depth, own[0]))
        elif above and name:
            first, _, last = span.partition("-")
            start, end = whole_number(first, 16) or 0, whole_number(last, 16) or 0
            found.append(BarHolder(address=above[-1][1], holder=name, start=start, end=end))
    return tuple(found)


def _numbered(tree: Tree, folder: str, prefix: str) -> list[tuple[int, str]]:
    numbers = ((whole_number(name.removeprefix(prefix)), name) for name in tree.listdir(folder))
    return sorted((number, f"{folder}/{name}") for number, name in numbers if number is not None)


def _framebuffers(tree: Tree) -> list[Framebuffer]:
    return [
        Framebuffer(number=number, name=tree.label(f"{path}/name"), controller=last_pci_address(tree.readlink(path)))
        for number, path in _numbered(tree, "/sys/class/graphics", "fb")
    ]


def _consoles(tree: Tree) -> list[VtConsole]:
    return [
        VtConsole(number=number, name=tree.label(f"{path}/name"), bound=tree.number(f"{path}/bind") == 1)
        for number, path in _numbered(tree, "/sys/class/vtconsole", "vtcon")
    ]


def _cards(tree: Tree) -> tuple[GraphicsCard, ...]:
    folder = "/sys/class/drm"
    names = tree.listdir(folder)
    connected: dict[str, tuple[str, ...]] = {}
    for name in names:
        match = _CONNECTOR.fullmatch(name)
        if match and tree.read(f"{folder}/{name}/status") == "connected":
            connected[match[1]] = (*connected.get(match[1], ()), match[2])
    return tuple(
        GraphicsCard(
            name=name,
            controller=last_pci_address(tree.readlink(f"{folder}/{name}")),
            connected=connected.get(name, ()),
        )
        for name in names
        if _CARD.fullmatch(name)
    )


def _firmware(tree: Tree) -> list[str]:
    folder = "/sys/bus/platform/drivers"
    return [
        f"{driver}/{name}"
        for driver in _FIRMWARE_DRIVERS
        for name in tree.listdir(f"{folder}/{driver}")
        # The devices are links beside the files bind, unbind, uevent.
        if tree.readlink(f"{folder}/{driver}/{name}") and name != "module"
    ]
