"""Network links, the hardware below them, and which of them the host's default route needs.

MAC addresses are not read: nothing here needs them, and a capture must not hold them.

Source: the kernel's ``Documentation/ABI/testing/sysfs-class-net``, ``include/uapi/linux/route.h`` for the flags, and
``net/ipv4/fib_trie.c``, ``net/ipv6/route.c`` for the columns of the two files.
"""

import msgspec

from qlaunch.host.pci import last_pci_address
from qlaunch.host.tree import Tree, whole_number
from qlaunch.values.pci import PciAddress

_FOLDER = "/sys/class/net"
_UP, _REJECT = 0x1, 0x200
# Of a route, the link is enough: an IPv6 gateway's address has its MAC address in it.
_NO_GATEWAY = "0"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One network link."""

    name: str
    controller: PciAddress | None = None
    """The PCI function of a physical link; of a USB adapter, its host controller."""
    driver: str | None = None
    state: str | None = None
    """``up``, ``down``, ``unknown``."""
    master: str | None = None
    """The bridge or bond that it belongs to."""
    below: tuple[str, ...] = ()
    """Of a bridge, bond, VLAN or macvlan, the links that it goes over."""
    bridge: bool = False
    usb: bool = False
    default_route: bool = False
    """Whether the host's default route goes over it, itself or through a link above."""


class NetworkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Every link of the namespace that qlaunch runs in."""

    links: tuple[Link, ...] = ()
    default_routes: tuple[str, ...] = ()
    """Names of the links that default routes name."""

    def on(self, address: str) -> tuple[Link, ...]:
        """Give the links of a PCI function."""
        return tuple(link for link in self.links if link.controller == address)


def read_network(tree: Tree) -> NetworkFacts:
    """Read links and default routes."""
    links = {name: _link(tree, name) for name in tree.listdir(_FOLDER) if name != "bonding_masters"}
    routes = tuple(sorted({*_routes(tree), *_routes6(tree)}))
    needed: set[str] = set()
    waiting = list(routes)
    while waiting:
        name = waiting.pop()
        if name in links and name not in needed:
            needed.add(name)
            waiting += links[name].below
    return NetworkFacts(
        links=tuple(
            msgspec.structs.replace(link, default_route=True) if name in needed else link
            for name, link in links.items()
        ),
        default_routes=routes,
    )


def _link(tree: Tree, name: str) -> Link:
    folder = f"{_FOLDER}/{name}"
    link = tree.readlink(folder)
    there = tree.listdir(folder)
    below = {part.removeprefix("lower_") for part in there if part.startswith("lower_")}
    return Link(
        name=name,
        controller=last_pci_address(link),
        driver=tree.linked_name(f"{folder}/device/driver") if "device" in there else None,
        state=tree.read(f"{folder}/operstate"),
        master=tree.linked_name(f"{folder}/master") if "master" in there else None,
        below=tuple(sorted(below)),
        bridge="bridge" in there,
        usb=any(part.startswith("usb") for part in (link or "").split("/")),
    )


def _routes(tree: Tree) -> list[str]:
    """Read the IPv4 routes: link, destination, gateway, flags, …, mask in the eighth column."""

    def keep(line: str) -> str | None:
        row = line.split()
        is_default = len(row) > 7 and row[1] == row[7] == "00000000" and _usable(whole_number(row[3], 16))
        return " ".join([*row[:2], _NO_GATEWAY, *row[3:8]]) if is_default else None

    return [row.split()[0] for row in tree.distilled("/proc/net/route", keep)]


def _routes6(tree: Tree) -> list[str]:
    """Read the IPv6 routes: destination, its length, …, flags in the ninth column, link in the tenth."""

    def keep(line: str) -> str | None:
        row = line.split()
        is_default = len(row) > 9 and not row[0].strip("0") and row[1] == "00" and row[9] != "lo"
        if not is_default or not _usable(whole_number(row[8], 16)):
            return None
        return " ".join([*row[:2], _NO_GATEWAY, row[3], _NO_GATEWAY, *row[5:10]])

    return [row.split()[9] for row in tree.distilled("/proc/net/ipv6_route", keep)]


def _usable(flags: int | None) -> bool:
    return flags is not None and bool(flags & _UP) and not flags & _REJECT
