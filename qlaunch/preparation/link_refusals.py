"""What stands against cards of the types bridge, tap, macvtap and passt on this host, before anything is touched.

Source: the kernel's ``Documentation/ABI/testing/sysfs-class-net`` (carrier, mtu, type); ``drivers/net/tun.c``
(tun_flags); ``drivers/net/macvlan.c`` (a port of a bridge, and the loopback, cannot carry one).
"""

from collections.abc import Callable, Iterator

from qlaunch.devices.network import Network
from qlaunch.errors import Problem
from qlaunch.host.network import Link
from qlaunch.preparation.links import mtu_of
from qlaunch.preparation.wish import Wish

_TUN, _VHOST = "/dev/net/tun", "/dev/vhost-net"
_MULTI_QUEUE = 0x100  # IFF_MULTI_QUEUE in the kernel's include/uapi/linux/if_tun.h
_LOOPBACK = 772  # ARPHRD_LOOPBACK


def refusals(wish: Wish) -> Iterator[Problem]:
    """Yield everything at once, card by card."""
    for index, card in enumerate(wish.machine.network):
        key = f"network.{index}"
        if judge := _JUDGES.get(card.type):
            yield from judge(wish, card, key)
        if card.vhost and not wish.facts.tree.exists(_VHOST):
            message = f"there is no {_VHOST} on this host"
            yield Problem(
                code="no-vhost", key=f"{key}.vhost", message=message, hint="modprobe vhost_net, or take it out"
            )


def _bridge(wish: Wish, card: Network, key: str) -> Iterator[Problem]:
    yield from _tun(wish, key)
    if card.create:
        yield from _own_bridge(wish, card, key)
        return
    link = _link(wish, card.bridge)
    if link is None or not link.bridge:
        bridges = ", ".join(link.name for link in wish.facts.network.links if link.bridge) or "none"
        message = f"there is no bridge {card.bridge} on this host" if link is None else f"{card.bridge} is no bridge"
        hint = f"bridges: {bridges}; with create = true it is made for the time that the machine runs"
        yield Problem(code="no-bridge", key=f"{key}.bridge", message=message, hint=hint)
        return
    if wish.facts.tree.read(f"/sys/class/net/{link.name}/carrier") == "0":
        message = f"{link.name} has no carrier: none of its ports leads anywhere now"
        hint = f"see: bridge link; the guest reaches nobody beyond {link.name} until one does"
        yield Problem(code="no-carrier", severity="warning", key=f"{key}.bridge", message=message, hint=hint)
    yield from _size(wish, card, key, link.name)


def _own_bridge(wish: Wish, card: Network, key: str) -> Iterator[Problem]:
    if card.subnet:
        for name, network, mask in _networks(wish):
            if name != card.bridge and card.subnet.overlaps(network, mask):
                message = f"{card.subnet.network_text} is in use on {name} already"
                hint = 'take another one, such as "192.168.177.1/24"; see: ip route'
                yield Problem(code="subnet-taken", key=f"{key}.subnet", message=message, hint=hint)
    if card.dhcp and "dnsmasq" not in wish.facts.software.programs:
        message = "dnsmasq, which would answer DHCP, is not installed"
        yield Problem(code="no-dnsmasq", key=f"{key}.dhcp", message=message, hint="install dnsmasq, or take dhcp out")
    if card.nat and not wish.facts.network.default_routes:
        message = "this host has no default route, so there is nothing to translate to yet"
        hint = "start the machine again once the host is connected"
        yield Problem(code="no-route", severity="warning", key=f"{key}.nat", message=message, hint=hint)


def _tap(wish: Wish, card: Network, key: str) -> Iterator[Problem]:
    yield from _tun(wish, key)
    if card.device is None:
        return
    flags = wish.facts.tree.hexadecimal(f"/sys/class/net/{card.device}/tun_flags")
    if flags is None:
        is_there = _link(wish, card.device) is not None
        message = f"{card.device} is no tap" if is_there else f"there is no tap {card.device} on this host"
        hint = f"ip tuntap add {card.device} mode tap, or take device out: one of the machine's own is made then"
        yield Problem(code="no-tap", key=f"{key}.device", message=message, hint=hint)
        return
    if (card.queues or 1) > 1 and not flags & _MULTI_QUEUE:
        message = f"{card.device} was made for one queue, and {card.queues} are wanted"
        hint = "make it with: ip tuntap add … mode tap multi_queue"
        yield Problem(code="tap-queues", key=f"{key}.queues", message=message, hint=hint)
    yield from _size(wish, card, key, card.device)


def _macvtap(wish: Wish, card: Network, key: str) -> Iterator[Problem]:
    link = _link(wish, card.device)
    if link is None:
        links = ", ".join(link.name for link in wish.facts.network.links if link.controller) or "none"
        message = f"there is no link {card.device} on this host"
        yield Problem(code="no-link", key=f"{key}.device", message=message, hint=f"network cards: {links}")
        return
    if wish.facts.tree.number(f"/sys/class/net/{link.name}/type") == _LOOPBACK:
        message = f"{link.name} is the loopback, which cannot carry a macvtap"
        yield Problem(code="no-link", key=f"{key}.device", message=message, hint='take another link, or type = "user"')
        return
    if link.master:
        message = f"{link.name} belongs to {link.master}, so no macvtap can sit on it"
        hint = f'type = "bridge" with bridge = "{link.master}", or device = "{link.master}"'
        yield Problem(code="link-taken", key=f"{key}.device", message=message, hint=hint)
    if wish.facts.tree.exists(f"/sys/class/net/{link.name}/phy80211"):
        message = f"{link.name} is a wireless card: most access points take no second address from one station"
        hint = 'type = "bridge" with create, subnet, dhcp and nat works over any card'
        yield Problem(code="wireless", severity="warning", key=f"{key}.device", message=message, hint=hint)
    yield from _size(wish, card, key, link.name)


def _passt(wish: Wish, _: Network, key: str) -> Iterator[Problem]:
    if "passt" not in wish.facts.software.programs:
        hint = 'install passt, or write type = "user"'
        yield Problem(code="no-passt", key=f"{key}.type", message="passt is not installed", hint=hint)


def _tun(wish: Wish, key: str) -> Iterator[Problem]:
    if not wish.facts.tree.exists(_TUN):
        hint = 'modprobe tun; in a container, let it have the device; or type = "user"'
        yield Problem(code="no-tun", key=f"{key}.type", message=f"there is no {_TUN} on this host", hint=hint)


def _size(wish: Wish, card: Network, key: str, link: str) -> Iterator[Problem]:
    most = mtu_of(wish, link)
    if card.mtu and most and card.mtu > most:
        message = f"{link} carries packets of {most} bytes, and {card.mtu} are wanted"
        yield Problem(code="mtu", key=f"{key}.mtu", message=message, hint=f"ip link set {link} mtu {card.mtu}, or less")


def _link(wish: Wish, name: str | None) -> Link | None:
    return next((link for link in wish.facts.network.links if link.name == name), None)


def _networks(wish: Wish) -> Iterator[tuple[str, int, int]]:
    """Yield the IPv4 networks that the host's links lead to, but the default one.

    Source: the kernel's ``net/ipv4/fib_trie.c``: link, destination, …, mask in the eighth column, in the processor's
    order of bytes.
    """
    for row in (line.split() for line in wish.facts.tree.lines("/proc/net/route")[1:]):
        if len(row) > 7 and row[7] != "00000000":
            network, mask = (int.from_bytes(bytes.fromhex(row[column]), "little") for column in (1, 7))
            yield row[0], network, mask


_JUDGES: dict[str, Callable[[Wish, Network, str], Iterator[Problem]]] = {
    "bridge": _bridge,
    "tap": _tap,
    "macvtap": _macvtap,
    "passt": _passt,
}
